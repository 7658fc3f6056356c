/* SPDX-License-Identifier: Apache-2.0 */
/* common/yaml_scalar.h: the core schema of YAML 1.2 (§10.3.2), for common/yaml.c. Threads: pure. */
#ifndef COMMON_YAML_SCALAR_H
#define COMMON_YAML_SCALAR_H

#include <stdbool.h>
#include <stddef.h>

/* .inf, -.Inf, .NaN …: numbers that JSON does not have. */
bool yaml_scalar_is_special(const char *text, size_t len);

#endif
