/* SPDX-License-Identifier: Apache-2.0 */
/* proto/json_map.h: one mapper between messages and JSON, driven by their descriptors, so that the
 * shape of an API resource is written once, in penstock.proto.
 * Rules: field names are keys; 64-bit integers are decimal strings; bytes are base64 under the
 * name with _b64; a string field named x_json is the JSON document itself under the name x; enums
 * are their value's name in lower case without the prefix ("PHASE_LOAD" is "load"); a field that
 * is absent is left out unless it declares a default; repeated fields are always arrays.
 * In: messages or JSON from outside.  Out: the other.
 * Invariant: reading what was written gives an equal message; an unknown or repeated key, a wrong
 *            type or a missing required key is PS_BADDATA whose text starts with the path.
 * Threads: pure. */
#ifndef PROTO_JSON_MAP_H
#define PROTO_JSON_MAP_H

#include <jansson.h>

#include "common/error.h"
#include "proto/frame.h"

/* *out is a new reference. PS_BADDATA: a text that is not UTF-8, or an x_json that is not JSON. */
PS_MUSTCHECK enum ps_status json_map_write(const ProtobufCMessage *message, json_t **out,
                                           struct ps_error *err);

/* *out is freed by msg_free. */
PS_MUSTCHECK enum ps_status json_map_read(const ProtobufCMessageDescriptor *descriptor,
                                          const json_t *json, ProtobufCMessage **out,
                                          struct ps_error *err);

/* The OpenAPI 3.1 schema of the message: nested messages are
 * {"$ref": "#/components/schemas/<short name>"}. A new reference; NULL when memory is refused. */
json_t *json_map_schema(const ProtobufCMessageDescriptor *descriptor);

/* ---- shared by the three files */
enum { JSON_MAP_KEY_BYTES = 80, JSON_MAP_PATH_BYTES = 256 };

enum json_map_form { JSON_MAP_PLAIN, JSON_MAP_B64, JSON_MAP_EMBEDDED };

/* The field's key; the form says how a string or bytes field is shown. */
enum json_map_form json_map_key(const ProtobufCFieldDescriptor *field,
                                char out_key[JSON_MAP_KEY_BYTES]);
/* "leaf_died" for FAIL_LEAF_DIED. */
void json_map_enum_name(const ProtobufCEnumValue *value, char out_name[JSON_MAP_KEY_BYTES]);
/* Bytes of one element of a repeated field. */
size_t json_map_element_bytes(ProtobufCType type);

#endif
