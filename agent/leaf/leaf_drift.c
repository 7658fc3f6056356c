/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_drift.h"

#include "agent/decode/infer_kind.h"
#include "common/alloc.h"

/* Of one job, and of what a leaf has told: enough for every table, and a ceiling for bytes from
 * outside. */
enum { NAMES_MOST = 4096, NAME_MOST_BYTES = 1024, SHOWN_NAMES = 5 };

struct drift_field {
    char *name;
    size_t range;
    struct infer_kind kind;
};

struct leaf_drift {
    struct drift_field *items;
    size_t count;
};

enum leaf_unknown
leaf_drift_policy(const struct spec *spec)
{
    return spec_is(spec, "columns.unknown", "add")      ? LEAF_UNKNOWN_ADD
           : spec_is(spec, "columns.unknown", "reject") ? LEAF_UNKNOWN_REJECT
                                                        : LEAF_UNKNOWN_IGNORE;
}

void
leaf_drift_free(struct leaf_drift *drift)
{
    for (size_t i = 0; drift != NULL && i < drift->count; i++) {
        ps_free(drift->items[i].name);
    }
    if (drift != NULL) {
        ps_free(drift->items);
    }
    ps_free(drift);
}

/* The field's number; NAMES_MOST: one too many. */
static size_t
note(struct leaf_drift **slot, struct ps_span name, size_t range)
{
    struct leaf_drift *drift = *slot;
    if (drift == NULL) {
        drift = *slot = ps_xcalloc(1, sizeof *drift);
    }
    size_t len = name.len < NAME_MOST_BYTES ? name.len : NAME_MOST_BYTES;
    for (size_t i = 0; i < drift->count; i++) {
        if (strlen(drift->items[i].name) == len &&
            memcmp(drift->items[i].name, name.ptr, len) == 0) {
            return i;
        }
    }
    if (drift->count == NAMES_MOST) {
        return NAMES_MOST;
    }
    drift->items = ps_xrealloc(drift->items, (drift->count + 1) * sizeof *drift->items);
    drift->items[drift->count] =
        (struct drift_field){.name = ps_xstrndup((const char *)name.ptr, len), .range = range};
    return drift->count++;
}

static void
value_add(struct leaf_drift *drift, size_t number, const struct field *field,
          const struct spec *spec)
{
    const char *const *nulls = NULL;
    size_t count = spec_list(spec, "format.null", &nulls);
    if (number >= drift->count || field->ptr == NULL) {
        return;
    }
    for (size_t i = 0; i < count && !field->quoted; i++) {
        if (ps_span_eq(ps_span_str(nulls[i]), ps_span(field->ptr, field->len))) {
            return;
        }
    }
    infer_kind_add(&drift->items[number].kind, field, spec_is(spec, "format.decimal", ","));
}

static bool
is_column(const struct leaf_doc *doc, struct ps_span name)
{
    for (size_t i = 0; i < doc->column_count; i++) {
        const struct spec_column *column = &doc->columns[i];
        if (column->value == VALUE_FIELD &&
            ps_span_eq(ps_span_str(column->from != NULL ? column->from : column->name), name)) {
            return true;
        }
    }
    return false;
}

/* ---- one object */
struct leaf_drift_added {
    uint32_t field;
    size_t number; /* in the job's drift */
};

void
leaf_drift_object_init(struct leaf_drift_object *object, const struct spec *spec)
{
    *object = (struct leaf_drift_object){.spec = spec, .policy = leaf_drift_policy(spec)};
}

void
leaf_drift_object_fini(struct leaf_drift_object *object)
{
    ps_buf_fini(&object->refused);
    ps_free(object->added);
}

void
leaf_drift_object_names(struct leaf_drift_object *object, const struct leaf_doc *doc,
                        struct leaf_drift **drift, size_t range, const struct ps_span *names,
                        uint32_t count)
{
    object->added_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_column(doc, names[i])) {
            continue;
        }
        if (object->policy == LEAF_UNKNOWN_REJECT) {
            ps_buf_clear(&object->refused);
            ps_buf_xappend(&object->refused, names[i].ptr, names[i].len);
            return;
        }
        size_t number = note(drift, names[i], range);
        if (object->policy == LEAF_UNKNOWN_ADD) {
            object->added =
                ps_xrealloc(object->added, (object->added_count + 1) * sizeof *object->added);
            object->added[object->added_count++] = (struct leaf_drift_added){i, number};
        }
    }
}

void
leaf_drift_object_name(struct leaf_drift_object *object, struct leaf_drift **drift, size_t range,
                       struct ps_span name)
{
    if (object->policy == LEAF_UNKNOWN_IGNORE) {
        (void)note(drift, name, range);
    }
}

void
leaf_drift_object_say(const struct leaf_drift_object *object, const struct record *record,
                      struct stage_reject *out)
{
    out->column = record->unknown.ptr != NULL ? record->unknown : ps_buf_span(&object->refused);
    out->code = ps_span_str("unknown_field");
    out->reason = ps_span_str("the record has a field that is no column (columns.unknown: reject)");
}

void
leaf_drift_object_look(const struct leaf_drift_object *object, struct leaf_drift *drift,
                       const struct record *record)
{
    for (size_t i = 0; i < object->added_count; i++) {
        if (object->added[i].field < record->count) {
            value_add(drift, object->added[i].number, &record->fields[object->added[i].field],
                      object->spec);
        }
    }
}

/* ---- what comes of it */
enum ps_status
leaf_drift_stop(const struct leaf_drift *drift, struct ps_error *err)
{
    if (drift == NULL || drift->count == 0) {
        return PS_OK;
    }
    struct ps_buf names = PS_BUF_INIT;
    for (size_t i = 0; i < drift->count && i < SHOWN_NAMES; i++) {
        ps_buf_xprintf(&names, "%s\"%.60s\"", i == 0 ? "" : ", ", drift->items[i].name);
    }
    (void)ps_fail_code(err, PS_REFUSED, LEAF_UNKNOWN_COLUMNS,
                       "%zu field%s no column yet: %s%s (columns.unknown: add)", drift->count,
                       drift->count == 1 ? " is" : "s are", ps_buf_str(&names),
                       drift->count > SHOWN_NAMES ? ", …" : "");
    ps_buf_fini(&names);
    return PS_REFUSED;
}

size_t
leaf_drift_columns(const struct leaf_drift *drift, Penstock__Column **out_items,
                   Penstock__Column ***out_pointers)
{
    size_t count = drift == NULL ? 0 : drift->count;
    Penstock__Column *items = ps_xcalloc(count + 1, sizeof *items);
    Penstock__Column **pointers = ps_xcalloc(count + 1, sizeof *pointers);
    for (size_t i = 0; i < count; i++) {
        penstock__column__init(&items[i]);
        items[i].name = items[i].from = drift->items[i].name;
        items[i].type = (char *)(uintptr_t)column_type_name(infer_kind_type(&drift->items[i].kind));
        pointers[i] = &items[i];
    }
    *out_items = items;
    *out_pointers = pointers;
    return count;
}

size_t
leaf_drift_names(const struct leaf_drift *drift, size_t range, ProtobufCBinaryData **out)
{
    size_t count = 0;
    *out = NULL;
    for (size_t i = 0; drift != NULL && i < drift->count; i++) {
        const char *name = drift->items[i].name;
        if (drift->items[i].range == range) {
            *out = ps_xrealloc(*out, (count + 1) * sizeof **out);
            (*out)[count++] = proto_bytes(name, strlen(name));
        }
    }
    return count;
}

void
leaf_drift_name_again(struct leaf_drift **drift, size_t range, struct ps_span name)
{
    (void)note(drift, name, range);
}

size_t
leaf_drift_untold(struct leaf_docs *docs, struct leaf_doc *doc, const struct leaf_drift *drift,
                  size_t range, ProtobufCBinaryData **out)
{
    size_t count = 0;
    size_t all = leaf_drift_names(drift, range, out);
    for (size_t i = 0; i < all; i++) {
        if (leaf_doc_tell(docs, doc, (const char *)(*out)[i].data)) {
            (*out)[count++] = (*out)[i];
        }
    }
    return count;
}
