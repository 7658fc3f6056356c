/* SPDX-License-Identifier: Apache-2.0 */
#include "common/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

PS_PRINTF(4, 0)
static void
error_set(struct ps_error *err, enum ps_status status, const char *code, const char *fmt,
          va_list args)
{
    if (err == NULL) {
        return;
    }
    err->status = status;
    snprintf(err->code, sizeof err->code, "%s", code);
    vsnprintf(err->text, sizeof err->text, fmt, args);
}

/* Cutting a text that is too long is intended. */
static void
text_add(struct ps_error *err, size_t at, const char *more)
{
    if (at >= sizeof err->text - 1) {
        return;
    }
    size_t len = strnlen(more, sizeof err->text - 1 - at);
    memcpy(err->text + at, more, len);
    err->text[at + len] = '\0';
}

enum ps_status
ps_fail(struct ps_error *err, enum ps_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_set(err, status, "", fmt, args);
    va_end(args);
    return status;
}

enum ps_status
ps_fail_code(struct ps_error *err, enum ps_status status, const char *code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_set(err, status, code, fmt, args);
    va_end(args);
    return status;
}

enum ps_status
ps_wrap(struct ps_error *err, enum ps_status status, const char *fmt, ...)
{
    if (err == NULL) {
        return status;
    }
    char inner[PS_ERROR_TEXT_BYTES];
    memcpy(inner, err->text, sizeof inner);
    va_list args;
    va_start(args, fmt);
    int used = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    size_t at = used < 0 ? 0 : (size_t)used;
    text_add(err, at, ": ");
    text_add(err, at + 2, inner);
    return err->status;
}

const char *
ps_status_name(enum ps_status status)
{
    switch (status) {
    case PS_OK:
        return "ok";
    case PS_AGAIN:
        return "again";
    case PS_REFUSED:
        return "refused";
    case PS_BADDATA:
        return "baddata";
    case PS_FENCED:
        return "fenced";
    case PS_CANCELED:
        return "canceled";
    case PS_FULL:
        return "full";
    case PS_BUG:
        return "bug";
    }
    return "unknown";
}

enum ps_status
ps_status_from_errno(int errnum)
{
    switch (errnum) {
    case EAGAIN:
    case EINTR:
    case EIO:
    case ETIMEDOUT:
    case ECONNRESET:
    case ECONNREFUSED:
        return PS_AGAIN;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return PS_FULL;
    default:
        return PS_REFUSED;
    }
}

enum ps_status
ps_fail_errno(struct ps_error *err, int errnum, const char *fmt, ...)
{
    enum ps_status status = ps_status_from_errno(errnum);
    va_list args;
    va_start(args, fmt);
    error_set(err, status, errnum == ENOSPC || errnum == EDQUOT ? PS_ERROR_DISK_FULL : "", fmt,
              args);
    va_end(args);
    if (err != NULL) {
        text_add(err, strlen(err->text), ": ");
        text_add(err, strlen(err->text), strerror(errnum));
    }
    return status;
}
