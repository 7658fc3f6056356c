/* SPDX-License-Identifier: Apache-2.0 */
/* common/secret.h: ${env:NAME} and ${file:/path} in a pipeline's texts, put in by the process that
 * needs them.
 * In: a text as the spec has it.  Out: the text with the secrets; it belongs in no log, no error
 * and no catalog.
 * Invariant: an error names the reference, never a value. Only texts that a person wrote into the
 *            spec come here, never what a server sent.
 * Threads: pure, but for the environment and the files. */
#ifndef COMMON_SECRET_H
#define COMMON_SECRET_H

#include "common/buf.h"
#include "common/error.h"

enum { PS_SECRET_MAX_BYTES = 1024 * 1024 };

/* Appends the text's meaning. A file's last line end is dropped. PS_REFUSED with code
 * "secret_missing": no such variable or file. */
PS_MUSTCHECK enum ps_status ps_secret_resolve(const char *text, struct ps_buf *out,
                                              struct ps_error *err);
/* Overwrites the bytes, then frees them. */
void ps_secret_fini(struct ps_buf *buf);
/* The length of the reference that text begins with, "}" included; 0 = none. */
size_t ps_secret_reference(const char *text);

#endif
