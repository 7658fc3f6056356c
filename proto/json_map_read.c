/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/base64.h"
#include "proto/json_map.h"

/* The path of what is being read, "columns[2].name"; only its first `len` characters hold. */
struct path {
    char text[JSON_MAP_PATH_BYTES];
    size_t len;
};

static void
path_add(struct path *path, const char *more)
{
    size_t room = sizeof path->text - 1 - path->len;
    size_t len = strnlen(more, room);
    memcpy(path->text + path->len, more, len);
    path->len += len;
    path->text[path->len] = '\0';
}

static void
path_add_index(struct path *path, size_t index)
{
    char text[24];
    snprintf(text, sizeof text, "[%zu]", index);
    path_add(path, text);
}

static void
path_cut(struct path *path, size_t len)
{
    path->len = len;
    path->text[len] = '\0';
}

static enum ps_status
expected(const struct path *path, const char *what, struct ps_error *err)
{
    return ps_fail(err, PS_BADDATA, "%s: expected %s", path->len == 0 ? "(document)" : path->text,
                   what);
}

static enum ps_status
no_memory(const struct path *path, struct ps_error *err)
{
    return ps_fail(err, PS_FULL, "%s: out of memory", path->text);
}

static enum ps_status
read_int32(const json_t *json, int64_t least, int64_t most, const struct path *path, void *at,
           struct ps_error *err)
{
    if (!json_is_integer(json) || json_integer_value(json) < least ||
        json_integer_value(json) > most) {
        return expected(path, least < 0 ? "a 32-bit integer" : "an unsigned 32-bit integer", err);
    }
    uint32_t value = (uint32_t)json_integer_value(json);
    memcpy(at, &value, sizeof value);
    return PS_OK;
}

/* Canonical decimal digits: no sign but a minus, no leading zero, no blank. */
static bool
is_decimal(const char *text, bool is_signed)
{
    text += is_signed && *text == '-' ? 1 : 0;
    if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    return strspn(text, "0123456789") == strlen(text);
}

static enum ps_status
read_int64(const json_t *json, bool is_signed, const struct path *path, void *at,
           struct ps_error *err)
{
    const char *text = json_string_value(json);
    if (text == NULL || !is_decimal(text, is_signed)) {
        return expected(path, "a 64-bit integer as a string of digits", err);
    }
    errno = 0;
    uint64_t value =
        is_signed ? (uint64_t)strtoll(text, NULL, 10) : (uint64_t)strtoull(text, NULL, 10);
    if (errno != 0) {
        return expected(path, "an integer of at most 64 bits", err);
    }
    memcpy(at, &value, sizeof value);
    return PS_OK;
}

static enum ps_status
read_enum(const json_t *json, const ProtobufCEnumDescriptor *descriptor, const struct path *path,
          void *at, struct ps_error *err)
{
    const char *text = json_string_value(json);
    for (unsigned i = 0; text != NULL && i < descriptor->n_values; i++) {
        char name[JSON_MAP_KEY_BYTES];
        json_map_enum_name(&descriptor->values[i], name);
        if (strcmp(name, text) == 0) {
            memcpy(at, &descriptor->values[i].value, sizeof(int));
            return PS_OK;
        }
    }
    return expected(path, "one of the known names", err);
}

/* A text that already stands there is a default in static memory. */
static enum ps_status
read_text(const json_t *json, enum json_map_form form, const struct path *path, char **at,
          struct ps_error *err)
{
    if (form == JSON_MAP_PLAIN && !json_is_string(json)) {
        return expected(path, "a string", err);
    }
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
    bool embedded = form == JSON_MAP_EMBEDDED;
    size_t len = embedded ? json_dumpb(json, NULL, 0, flags) : json_string_length(json);
    const char *plain = embedded ? "" : json_string_value(json);
    if (memchr(plain, '\0', embedded ? 0 : len) != NULL) {
        return expected(path, "a string without U+0000", err);
    }
    char *text = ps_alloc(len + 1);
    if (text == NULL) {
        return no_memory(path, err);
    }
    if (embedded) {
        json_dumpb(json, text, len, flags);
    } else {
        memcpy(text, plain, len);
    }
    text[len] = '\0';
    *at = text;
    return PS_OK;
}

static enum ps_status
read_bytes(const json_t *json, const struct path *path, ProtobufCBinaryData *at,
           struct ps_error *err)
{
    if (!json_is_string(json)) {
        return expected(path, "base64 in a string", err);
    }
    struct ps_span text = ps_span(json_string_value(json), json_string_length(json));
    enum ps_status status = ps_base64_parse(text, &at->data, &at->len, err);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "%s", path->text);
}

static enum ps_status read_message(const ProtobufCMessageDescriptor *descriptor, const json_t *json,
                                   struct path *path, ProtobufCMessage **out, struct ps_error *err);

static enum ps_status
read_value(const ProtobufCFieldDescriptor *field, const json_t *json, struct path *path, void *at,
           struct ps_error *err)
{
    char key[JSON_MAP_KEY_BYTES];
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(json, INT32_MIN, INT32_MAX, path, at, err);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_int32(json, 0, UINT32_MAX, path, at, err);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_int64(json, true, path, at, err);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_int64(json, false, path, at, err);
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)at = (float)json_number_value(json);
        return json_is_number(json) ? PS_OK : expected(path, "a number", err);
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)at = json_number_value(json);
        return json_is_number(json) ? PS_OK : expected(path, "a number", err);
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = json_is_true(json);
        return json_is_boolean(json) ? PS_OK : expected(path, "true or false", err);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(json, field->descriptor, path, at, err);
    case PROTOBUF_C_TYPE_STRING:
        return read_text(json, json_map_key(field, key), path, at, err);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(json, path, at, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(field->descriptor, json, path, at, err);
    }
    return ps_fail(err, PS_BUG, "%s: unknown field type", path->text);
}

static enum ps_status
read_repeated(const ProtobufCFieldDescriptor *field, const json_t *json, struct path *path,
              ProtobufCMessage *message, struct ps_error *err)
{
    if (!json_is_array(json)) {
        return expected(path, "a list", err);
    }
    uint8_t *base = (uint8_t *)message;
    size_t *count = (size_t *)(void *)(base + field->quantifier_offset);
    size_t bytes = json_map_element_bytes(field->type);
    size_t size = json_array_size(json);
    if (size == 0) {
        return PS_OK;
    }
    uint8_t *elements = ps_calloc(size, bytes);
    if (elements == NULL) {
        return no_memory(path, err);
    }
    *(uint8_t **)(void *)(base + field->offset) = elements;
    size_t path_len = path->len;
    for (size_t i = 0; i < size; i++) {
        path_add_index(path, i);
        *count = i + 1; /* the zeroed element is freed as nothing should reading it fail */
        enum ps_status status =
            read_value(field, json_array_get(json, i), path, elements + i * bytes, err);
        if (status != PS_OK) {
            return status;
        }
        path_cut(path, path_len);
    }
    return PS_OK;
}

static enum ps_status
read_field(const ProtobufCFieldDescriptor *field, const json_t *json, struct path *path,
           ProtobufCMessage *message, struct ps_error *err)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return read_repeated(field, json, path, message, err);
    }
    uint8_t *base = (uint8_t *)message;
    enum ps_status status = read_value(field, json, path, base + field->offset, err);
    if (status == PS_OK && field->label == PROTOBUF_C_LABEL_OPTIONAL &&
        field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE) {
        *(protobuf_c_boolean *)(base + field->quantifier_offset) = 1;
    }
    return status;
}

static bool
is_known_key(const ProtobufCMessageDescriptor *descriptor, const char *key)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        char known[JSON_MAP_KEY_BYTES];
        json_map_key(&descriptor->fields[i], known);
        if (strcmp(known, key) == 0) {
            return true;
        }
    }
    return false;
}

static enum ps_status
refuse_unknown_keys(const ProtobufCMessageDescriptor *descriptor, const json_t *json,
                    struct path *path, struct ps_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        if (!is_known_key(descriptor, key)) {
            path_add(path, path->len == 0 ? "" : ".");
            path_add(path, key);
            return ps_fail(err, PS_BADDATA, "%s: unknown key", path->text);
        }
    }
    return PS_OK;
}

static enum ps_status
read_fields(ProtobufCMessage *message, const json_t *json, struct path *path, struct ps_error *err)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    size_t path_len = path->len;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        char key[JSON_MAP_KEY_BYTES];
        json_map_key(field, key);
        const json_t *value = json_object_get(json, key);
        path_add(path, path_len == 0 ? "" : ".");
        path_add(path, key);
        if (value != NULL) {
            enum ps_status status = read_field(field, value, path, message, err);
            if (status != PS_OK) {
                return status;
            }
        } else if (field->label == PROTOBUF_C_LABEL_REQUIRED) {
            return ps_fail(err, PS_BADDATA, "%s: missing", path->text);
        }
        path_cut(path, path_len);
    }
    return PS_OK;
}

static enum ps_status
read_message(const ProtobufCMessageDescriptor *descriptor, const json_t *json, struct path *path,
             ProtobufCMessage **out, struct ps_error *err)
{
    if (!json_is_object(json)) {
        return expected(path, "an object", err);
    }
    enum ps_status status = refuse_unknown_keys(descriptor, json, path, err);
    if (status != PS_OK) {
        return status;
    }
    ProtobufCMessage *message = ps_alloc(descriptor->sizeof_message);
    if (message == NULL) {
        return no_memory(path, err);
    }
    protobuf_c_message_init(descriptor, message);
    status = read_fields(message, json, path, err);
    if (status != PS_OK) {
        msg_free(message);
        return status;
    }
    *out = message;
    return PS_OK;
}

enum ps_status
json_map_read(const ProtobufCMessageDescriptor *descriptor, const json_t *json,
              ProtobufCMessage **out, struct ps_error *err)
{
    struct path path = {.len = 0};
    return read_message(descriptor, json, &path, out, err);
}
