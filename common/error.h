/* SPDX-License-Identifier: Apache-2.0 */
/* common/error.h: one status and one text for everything that can go wrong.
 * In: what the failing place knows.  Out: a status that says what the caller does next, and a text,
 *     widest context first ("load batch …: insert: disk full").
 * Invariant: only ps_fail creates an error, only ps_wrap adds to it; a function that returns
 *            PS_OK has not touched *err.
 * Threads: a struct ps_error belongs to its owner; no shared state. */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PS_MUSTCHECK __attribute__((warn_unused_result))
#define PS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

enum ps_status {
    PS_OK = 0,
    PS_AGAIN,    /* transient: back off, try the same again */
    PS_REFUSED,  /* the other side said no: unchanged retry is useless */
    PS_BADDATA,  /* these bytes will never decode: reject or quarantine */
    PS_FENCED,   /* our epoch is stale: stop, touch nothing */
    PS_CANCELED, /* asked to stop: not a failure */
    PS_FULL,     /* out of local room: wait or shed */
    PS_BUG,      /* we broke our own promise */
};

enum { PS_ERROR_TEXT_BYTES = 1024, PS_ERROR_CODE_BYTES = 40 };

struct ps_error {
    enum ps_status status;
    /* Stable machine-readable cause, e.g. "source_changed"; "" where the status says enough. */
    char code[PS_ERROR_CODE_BYTES];
    char text[PS_ERROR_TEXT_BYTES];
};

/* Fills *err (which may be NULL) and returns status, so that `return ps_fail(…)` reads well. */
enum ps_status ps_fail(struct ps_error *err, enum ps_status status, const char *fmt, ...)
    PS_PRINTF(3, 4);

/* The same with a stable cause code. */
enum ps_status ps_fail_code(struct ps_error *err, enum ps_status status, const char *code,
                            const char *fmt, ...) PS_PRINTF(4, 5);

/* Puts context in front of the text: "context: text". Returns err's status (err may be NULL, then
 * the status given is returned). */
enum ps_status ps_wrap(struct ps_error *err, enum ps_status status, const char *fmt, ...)
    PS_PRINTF(3, 4);

/* "again", "refused", …; never NULL. */
const char *ps_status_name(enum ps_status status);

/* errno → status: EAGAIN/EINTR/EIO are PS_AGAIN, ENOSPC/EDQUOT/ENOMEM PS_FULL, the rest PS_REFUSED.
 */
enum ps_status ps_status_from_errno(int errnum);

/* The code of a failure that room on a disk would end. */
#define PS_ERROR_DISK_FULL "disk_full"

/* Fails with "what: strerror(errnum)"; the code is PS_ERROR_DISK_FULL for ENOSPC and EDQUOT. */
enum ps_status ps_fail_errno(struct ps_error *err, int errnum, const char *fmt, ...)
    PS_PRINTF(3, 4);

#endif
