/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli_json.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli_text.h"
#include "common/alloc.h"
#include "common/base64.h"

const json_t *
cli_json_at(const json_t *doc, const char *path)
{
    while (doc != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        char key[64];
        if (len >= sizeof key) {
            return NULL;
        }
        memcpy(key, path, len);
        key[len] = '\0';
        doc = json_object_get(doc, key);
        path += len + (path[len] == '.');
    }
    return doc;
}

const char *
cli_json_str(const json_t *doc, const char *path)
{
    const char *text = json_string_value(cli_json_at(doc, path));
    return text != NULL ? text : "";
}

uint64_t
cli_json_u64(const json_t *doc, const char *path)
{
    const json_t *value = cli_json_at(doc, path);
    if (json_is_integer(value)) {
        json_int_t number = json_integer_value(value);
        return number < 0 ? 0 : (uint64_t)number;
    }
    return json_is_string(value) ? strtoull(json_string_value(value), NULL, 10) : 0;
}

bool
cli_json_bool(const json_t *doc, const char *path)
{
    return json_is_true(cli_json_at(doc, path));
}

bool
cli_json_bytes(const json_t *doc, const char *path, struct ps_buf *out)
{
    const json_t *value = cli_json_at(doc, path);
    uint8_t *bytes = NULL;
    size_t len = 0;
    if (!json_is_string(value) ||
        ps_base64_parse(ps_span(json_string_value(value), json_string_length(value)), &bytes, &len,
                        NULL) != PS_OK) {
        return false;
    }
    ps_buf_xappend(out, bytes, len);
    ps_free(bytes);
    return true;
}

void
cli_json_name(const json_t *doc, const char *path, struct ps_buf *out)
{
    const json_t *value = cli_json_at(doc, path);
    if (json_is_string(value)) {
        cli_text_safe(out, json_string_value(value));
        return;
    }
    char *key = ps_xasprintf("%s_b64", path);
    struct ps_buf raw = PS_BUF_INIT;
    if (cli_json_bytes(doc, key, &raw)) {
        cli_text_safe(out, ps_buf_str(&raw));
    }
    ps_buf_fini(&raw);
    ps_free(key);
}
