/* SPDX-License-Identifier: Apache-2.0 */
#include "common/secret.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/path.h"

size_t
ps_secret_reference(const char *text)
{
    if (strncmp(text, "${env:", 6) != 0 && strncmp(text, "${file:", 7) != 0) {
        return 0;
    }
    const char *end = strchr(text, '}');
    return end == NULL ? 0 : (size_t)(end - text) + 1;
}

void
ps_secret_fini(struct ps_buf *buf)
{
    if (buf->ptr != NULL) {
        explicit_bzero(buf->ptr, buf->cap);
    }
    ps_buf_fini(buf);
}

static enum ps_status
put_file(const char *path, struct ps_buf *out, struct ps_error *err)
{
    struct ps_buf bytes = PS_BUF_INIT;
    struct ps_error why = {0};
    enum ps_status status = ps_path_read(path, PS_SECRET_MAX_BYTES, &bytes, &why);
    if (status != PS_OK) {
        ps_secret_fini(&bytes);
        return ps_fail_code(err, PS_REFUSED, "secret_missing", "${file:%s}: %s", path, why.text);
    }
    if (bytes.len > 0 && bytes.ptr[bytes.len - 1] == '\n') {
        bytes.len -= bytes.len > 1 && bytes.ptr[bytes.len - 2] == '\r' ? 2 : 1;
    }
    status = ps_buf_append(out, bytes.ptr, bytes.len, err);
    ps_secret_fini(&bytes);
    return status;
}

static enum ps_status
put_reference(const char *text, size_t len, struct ps_buf *out, struct ps_error *err)
{
    bool env = text[2] == 'e';
    size_t head = env ? 6 : 7;
    char *name = ps_xstrndup(text + head, len - head - 1);
    enum ps_status status = PS_OK;
    if (env) {
        const char *value = getenv(name);
        status = value != NULL ? ps_buf_append(out, value, strlen(value), err)
                               : ps_fail_code(err, PS_REFUSED, "secret_missing",
                                              "${env:%s} is not set on this agent", name);
    } else {
        status = put_file(name, out, err);
    }
    ps_free(name);
    return status;
}

enum ps_status
ps_secret_resolve(const char *text, struct ps_buf *out, struct ps_error *err)
{
    while (*text != '\0') {
        size_t len = ps_secret_reference(text);
        enum ps_status status =
            len > 0 ? put_reference(text, len, out, err) : ps_buf_append(out, text, 1, err);
        if (status != PS_OK) {
            return status;
        }
        text += len > 0 ? len : 1;
    }
    return PS_OK;
}
