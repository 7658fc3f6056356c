/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_map.h"

#include <stdio.h>

#include "common/assert.h"

enum json_map_form
json_map_key(const ProtobufCFieldDescriptor *field, char out_key[JSON_MAP_KEY_BYTES])
{
    static const char embedded[] = "_json";
    size_t len = strlen(field->name);
    PS_ASSERT(len + sizeof "_b64" <= JSON_MAP_KEY_BYTES);
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        snprintf(out_key, JSON_MAP_KEY_BYTES, "%s_b64", field->name);
        return JSON_MAP_B64;
    }
    size_t cut = len > sizeof embedded - 1 ? len - (sizeof embedded - 1) : 0;
    if (field->type == PROTOBUF_C_TYPE_STRING && cut > 0 &&
        strcmp(field->name + cut, embedded) == 0) {
        snprintf(out_key, JSON_MAP_KEY_BYTES, "%.*s", (int)cut, field->name);
        return JSON_MAP_EMBEDDED;
    }
    snprintf(out_key, JSON_MAP_KEY_BYTES, "%s", field->name);
    return JSON_MAP_PLAIN;
}

void
json_map_enum_name(const ProtobufCEnumValue *value, char out_name[JSON_MAP_KEY_BYTES])
{
    const char *underscore = strchr(value->name, '_');
    const char *from = underscore == NULL ? value->name : underscore + 1;
    size_t len = strlen(from);
    PS_ASSERT(len < JSON_MAP_KEY_BYTES);
    for (size_t i = 0; i <= len; i++) {
        out_name[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] - 'A' + 'a') : from[i];
    }
}

size_t
json_map_element_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    PS_ASSERT(!"a type that protobuf-c does not have");
    return 0;
}
