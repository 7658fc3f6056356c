/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "common/alloc.h"
#include "common/base64.h"
#include "proto/json_map.h"

static json_t *
write_bytes(const ProtobufCBinaryData *bytes)
{
    char *text = ps_base64_text(ps_span(bytes->data, bytes->len));
    json_t *json = text == NULL ? NULL : json_string(text);
    ps_free(text);
    return json;
}

static json_t *
write_enum(const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (value == NULL) {
        return json_integer(number);
    }
    char name[JSON_MAP_KEY_BYTES];
    json_map_enum_name(value, name);
    return json_string(name);
}

static json_t *
write_text(const char *text, enum json_map_form form)
{
    if (form == JSON_MAP_EMBEDDED) {
        return json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    }
    return json_string(text == NULL ? "" : text);
}

static json_t *write_message(const ProtobufCMessage *message, struct ps_error *err);

/* NULL with *err untouched where the value itself is at fault; the caller names the field. */
static json_t *
write_value(const ProtobufCFieldDescriptor *field, const void *at, enum json_map_form form,
            struct ps_error *err)
{
    char text[24];
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        snprintf(text, sizeof text, "%" PRId64, *(const int64_t *)at);
        return json_string(text);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)at);
        return json_string(text);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return write_enum(field->descriptor, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return write_text(*(char *const *)at, form);
    case PROTOBUF_C_TYPE_BYTES:
        return write_bytes(at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(*(ProtobufCMessage *const *)at, err);
    }
    return NULL;
}

static bool
is_present(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    const void *at = (const uint8_t *)message + field->offset;
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return *(void *const *)at != NULL;
    }
    if (field->label == PROTOBUF_C_LABEL_REQUIRED || field->default_value != NULL) {
        return true;
    }
    return *(const protobuf_c_boolean *)((const uint8_t *)message + field->quantifier_offset) != 0;
}

static json_t *
write_repeated(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message,
               enum json_map_form form, struct ps_error *err)
{
    const uint8_t *base = (const uint8_t *)message;
    size_t count = *(const size_t *)(const void *)(base + field->quantifier_offset);
    const uint8_t *elements = *(uint8_t *const *)(const void *)(base + field->offset);
    size_t bytes = json_map_element_bytes(field->type);
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *element = write_value(field, elements + i * bytes, form, err);
        if (json_array_append_new(array, element) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *
write_message(const ProtobufCMessage *message, struct ps_error *err)
{
    json_t *object = json_object();
    for (unsigned i = 0; object != NULL && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        char key[JSON_MAP_KEY_BYTES];
        enum json_map_form form = json_map_key(field, key);
        json_t *value = NULL;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            value = write_repeated(field, message, form, err);
        } else if (is_present(field, message)) {
            value = write_value(field, (const uint8_t *)message + field->offset, form, err);
        } else {
            continue;
        }
        if (json_object_set_new(object, key, value) != 0) {
            if (err->status == PS_OK) {
                ps_fail(err, PS_BADDATA, "%s.%s cannot be shown as JSON",
                        message->descriptor->short_name, key);
            }
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

enum ps_status
json_map_write(const ProtobufCMessage *message, json_t **out, struct ps_error *err)
{
    struct ps_error why = {.status = PS_OK};
    json_t *json = write_message(message, &why);
    if (json != NULL) {
        *out = json;
        return PS_OK;
    }
    if (why.status == PS_OK) {
        return ps_fail(err, PS_FULL, "out of memory for JSON");
    }
    return ps_fail(err, why.status, "%s", why.text);
}
