/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_cursor.h"

#include <string.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/base64.h"

/* Between the two alphabets of RFC 4648. */
static void
encode(struct ps_span bytes, struct ps_buf *out)
{
    char *text = ps_base64_text(bytes);
    PS_ASSERT(text != NULL);
    size_t len = strcspn(text, "=");
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }
    ps_buf_xappend(out, text, len);
    ps_free(text);
}

static enum ps_status
decode(const char *text, struct ps_buf *out)
{
    struct ps_buf padded = PS_BUF_INIT;
    uint8_t *bytes = NULL;
    size_t len = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        char digit = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
        ps_buf_xappend(&padded, &digit, 1);
    }
    while (padded.len % 4 != 0) {
        ps_buf_xappend(&padded, "=", 1);
    }
    enum ps_status status = ps_base64_parse(ps_buf_span(&padded), &bytes, &len, NULL);
    if (status == PS_OK) {
        ps_buf_xappend(out, bytes, len);
    }
    ps_free(bytes);
    ps_buf_fini(&padded);
    return status;
}

void
api_cursor_write(enum api_cursor_list list, struct ps_span key, struct ps_buf *out)
{
    struct ps_buf bytes = PS_BUF_INIT;
    uint8_t tag = (uint8_t)list;
    ps_buf_xappend(&bytes, &tag, 1);
    ps_buf_xappend(&bytes, key.ptr, key.len);
    encode(ps_buf_span(&bytes), out);
    ps_buf_fini(&bytes);
}

void
api_cursor_write_u64(enum api_cursor_list list, uint64_t key, struct ps_buf *out)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(key >> (56 - 8 * i));
    }
    api_cursor_write(list, ps_span(bytes, sizeof bytes), out);
}

enum ps_status
api_cursor_read(enum api_cursor_list list, const char *text, struct ps_buf *out,
                struct ps_error *err)
{
    struct ps_buf bytes = PS_BUF_INIT;
    bool good = decode(text, &bytes) == PS_OK && bytes.len > 0 && bytes.ptr[0] == (uint8_t)list;
    if (good) {
        ps_buf_xappend(out, bytes.ptr + 1, bytes.len - 1);
    }
    ps_buf_fini(&bytes);
    return good ? PS_OK : ps_fail(err, PS_BADDATA, "pass \"next\" of the same list unchanged");
}

enum ps_status
api_cursor_read_u64(enum api_cursor_list list, const char *text, uint64_t *out,
                    struct ps_error *err)
{
    struct ps_buf key = PS_BUF_INIT;
    uint64_t value = 0;
    enum ps_status status = api_cursor_read(list, text, &key, err);
    if (status == PS_OK && key.len != sizeof value) {
        status = ps_fail(err, PS_BADDATA, "pass \"next\" of the same list unchanged");
    }
    for (size_t i = 0; status == PS_OK && i < key.len; i++) {
        value = value << 8 | key.ptr[i];
    }
    ps_buf_fini(&key);
    if (status == PS_OK) {
        *out = value;
    }
    return status;
}
