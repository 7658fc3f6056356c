/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli_sample.h: what a dry run found, for people. Pure. */
#ifndef CLI_CLI_SAMPLE_H
#define CLI_CLI_SAMPLE_H

#include <jansson.h>

#include "common/buf.h"

void cli_sample_text(const json_t *sample, struct ps_buf *out);

#endif
