/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "proto/json_map.h"

static json_t *
enum_schema(const ProtobufCEnumDescriptor *descriptor)
{
    json_t *names = json_array();
    for (unsigned i = 0; i < descriptor->n_values; i++) {
        char name[JSON_MAP_KEY_BYTES];
        json_map_enum_name(&descriptor->values[i], name);
        json_array_append_new(names, json_string(name));
    }
    return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

static json_t *
value_schema(const ProtobufCFieldDescriptor *field, enum json_map_form form)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_pack("{s:s, s:s}", "type", "integer", "format", "int32");
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_pack("{s:s, s:i, s:I}", "type", "integer", "minimum", 0, "maximum",
                         (json_int_t)UINT32_MAX);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_pack("{s:s, s:s, s:s}", "type", "string", "format", "int64", "pattern",
                         "^-?[0-9]+$");
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_pack("{s:s, s:s, s:s}", "type", "string", "format", "uint64", "pattern",
                         "^[0-9]+$");
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_pack("{s:s}", "type", "number");
    case PROTOBUF_C_TYPE_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PROTOBUF_C_TYPE_ENUM:
        return enum_schema(field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
        return form == JSON_MAP_EMBEDDED ? json_object() : json_pack("{s:s}", "type", "string");
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "contentEncoding", "base64");
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessageDescriptor *nested = field->descriptor;
        char ref[128];
        snprintf(ref, sizeof ref, "#/components/schemas/%s", nested->short_name);
        return json_pack("{s:s}", "$ref", ref);
    }
    }
    return NULL;
}

json_t *
json_map_schema(const ProtobufCMessageDescriptor *descriptor)
{
    json_t *properties = json_object();
    json_t *required = json_array();
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        char key[JSON_MAP_KEY_BYTES];
        json_t *schema = value_schema(field, json_map_key(field, key));
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            schema = json_pack("{s:s, s:o}", "type", "array", "items", schema);
        }
        json_object_set_new(properties, key, schema);
        if (field->label != PROTOBUF_C_LABEL_OPTIONAL) {
            json_array_append_new(required, json_string(key));
        }
    }
    json_t *schema = json_pack("{s:s, s:s, s:o, s:b}", "title", descriptor->short_name, "type",
                               "object", "properties", properties, "additionalProperties", 0);
    if (json_array_size(required) > 0) {
        json_object_set_new(schema, "required", required);
    } else {
        json_decref(required);
    }
    return schema;
}
