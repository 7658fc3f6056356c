/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/leaf/leaf_doc.h"

#include <pthread.h>

#include "common/alloc.h"
#include "common/assert.h"

/* A leaf serves few pipelines at a time; the oldest document nobody uses makes room. */
enum { KEEP_DOCS = 32 };

struct leaf_docs {
    pthread_mutex_t lock;
    struct leaf_doc *items[KEEP_DOCS];
    size_t count;
};

static const struct {
    const char *text;
    enum column_value value;
} value_names[] = {
    {"$object", VALUE_OBJECT},
    {"$offset", VALUE_OFFSET},
    {"$line", VALUE_LINE},
    {"$batch", VALUE_BATCH},
};
static const char *const mismatch_names[] = {
    [MISMATCH_REJECT] = "reject",
    [MISMATCH_TEXT] = "text",
    [MISMATCH_NULL] = "null",
};

struct leaf_docs *
leaf_docs_new(void)
{
    struct leaf_docs *docs = ps_xcalloc(1, sizeof *docs);
    pthread_mutex_init(&docs->lock, NULL);
    return docs;
}

void
leaf_columns_free(struct spec_column *columns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ps_free((void *)(uintptr_t)columns[i].name);
        ps_free((void *)(uintptr_t)columns[i].from);
        ps_free((void *)(uintptr_t)columns[i].constant);
        ps_free((void *)(uintptr_t)columns[i].default_text);
    }
    ps_free(columns);
}

static void
doc_free(struct leaf_doc *doc)
{
    if (doc == NULL) {
        return;
    }
    leaf_columns_free(doc->columns, doc->column_count);
    for (size_t i = 0; i < doc->told_count; i++) {
        ps_free(doc->told[i]);
    }
    ps_free(doc->told);
    spec_unref(doc->spec);
    ps_free(doc->name);
    ps_free(doc);
}

void
leaf_docs_free(struct leaf_docs *docs)
{
    if (docs == NULL) {
        return;
    }
    for (size_t i = 0; i < docs->count; i++) {
        doc_free(docs->items[i]);
    }
    pthread_mutex_destroy(&docs->lock);
    ps_free(docs);
}

static enum ps_status
column_from_proto(const Penstock__Column *in, struct spec_column *out, struct ps_error *err)
{
    *out = (struct spec_column){
        .name = ps_xstrdup(in->name),
        .from = ps_xstrdup(in->from),
        .value = VALUE_FIELD,
        .type_given = true,
        .default_text = ps_xstrdup(in->default_value),
        .or_null = in->or_null,
        .on_mismatch = MISMATCH_REJECT,
    };
    if (in->value != NULL) {
        out->value = VALUE_CONSTANT;
        for (size_t i = 0; i < sizeof value_names / sizeof value_names[0]; i++) {
            if (strcmp(in->value, value_names[i].text) == 0) {
                out->value = value_names[i].value;
            }
        }
        out->constant = out->value == VALUE_CONSTANT ? ps_xstrdup(in->value) : NULL;
    }
    for (size_t i = 0; in->on_mismatch != NULL && i <= MISMATCH_NULL; i++) {
        if (strcmp(in->on_mismatch, mismatch_names[i]) == 0) {
            out->on_mismatch = (enum column_mismatch)i;
        }
    }
    if (!column_type_parse(in->type, &out->type)) {
        return ps_fail_code(err, PS_REFUSED, "column_type",
                            "column %s has the type %s, which this agent does not know", in->name,
                            in->type);
    }
    return PS_OK;
}

static struct bp_hash
digest_of(const Penstock__SpecDoc *in)
{
    Penstock__SpecDoc columns = PENSTOCK__SPEC_DOC__INIT;
    columns.pipeline_uuid = in->pipeline_uuid;
    columns.pipeline_name = columns.spec_json = (char *)(uintptr_t) "";
    columns.n_columns = in->n_columns;
    columns.columns = in->columns;
    size_t len = penstock__spec_doc__get_packed_size(&columns);
    uint8_t *bytes = ps_xalloc(len);
    penstock__spec_doc__pack(&columns, bytes);
    struct bp_hash digest = ps_bp_hash(ps_span_str(in->spec_json), ps_span(bytes, len));
    ps_free(bytes);
    return digest;
}

enum ps_status
leaf_columns_from_proto(Penstock__Column *const *in, size_t count, struct spec_column **out,
                        struct ps_error *err)
{
    struct spec_column *columns = ps_xcalloc(count + 1, sizeof *columns);
    for (size_t i = 0; i < count; i++) {
        enum ps_status status = column_from_proto(in[i], &columns[i], err);
        if (status != PS_OK) {
            leaf_columns_free(columns, count);
            return status;
        }
    }
    *out = columns;
    return PS_OK;
}

static enum ps_status
doc_from_proto(const Penstock__SpecDoc *in, struct leaf_doc **out, struct ps_error *err)
{
    struct leaf_doc *doc = ps_xcalloc(1, sizeof *doc);
    enum ps_status status;
    if (!ps_id_from_span(ps_span(in->pipeline_uuid.data, in->pipeline_uuid.len), &doc->uuid.id)) {
        status = ps_fail(err, PS_BADDATA, "a pipeline's uuid has %zu bytes", in->pipeline_uuid.len);
        goto out;
    }
    doc->generation = in->generation;
    doc->rev = in->spec_rev;
    doc->name = ps_xstrdup(in->pipeline_name);
    doc->digest = digest_of(in);
    status = spec_from_canonical(ps_span_str(in->spec_json), &doc->spec, err);
    if (status != PS_OK) {
        goto out;
    }
    status = leaf_columns_from_proto(in->columns, in->n_columns, &doc->columns, err);
    if (status != PS_OK) {
        goto out;
    }
    doc->column_count = in->n_columns;
    *out = doc;
    doc = NULL;
out:
    doc_free(doc);
    return status;
}

static struct leaf_doc *
find_locked(struct leaf_docs *docs, struct pipeline_uuid uuid, uint32_t rev)
{
    for (size_t i = 0; i < docs->count; i++) {
        if (docs->items[i]->rev == rev && ps_id_eq(docs->items[i]->uuid.id, uuid.id)) {
            return docs->items[i];
        }
    }
    return NULL;
}

static void
make_room_locked(struct leaf_docs *docs)
{
    for (size_t i = 0; docs->count == KEEP_DOCS && i < docs->count; i++) {
        if (docs->items[i]->refs == 0) {
            doc_free(docs->items[i]);
            memmove(&docs->items[i], &docs->items[i + 1],
                    (docs->count - i - 1) * sizeof docs->items[0]);
            docs->count--;
        }
    }
}

enum ps_status
leaf_docs_put(struct leaf_docs *docs, const Penstock__SpecDoc *in, struct ps_error *err)
{
    struct leaf_doc *doc = NULL;
    enum ps_status status = doc_from_proto(in, &doc, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "pipeline %s revision %u", in->pipeline_name, in->spec_rev);
    }
    PS_ASSERT(doc != NULL);
    pthread_mutex_lock(&docs->lock);
    if (find_locked(docs, doc->uuid, doc->rev) == NULL) {
        make_room_locked(docs);
        if (docs->count < KEEP_DOCS) {
            docs->items[docs->count++] = doc;
            doc = NULL;
        } else {
            status = ps_fail(err, PS_FULL, "%d pipeline documents are in use at once", KEEP_DOCS);
        }
    }
    pthread_mutex_unlock(&docs->lock);
    doc_free(doc);
    return status;
}

struct leaf_doc *
leaf_docs_find(struct leaf_docs *docs, struct ps_span uuid, uint32_t rev)
{
    struct pipeline_uuid key;
    if (!ps_id_from_span(uuid, &key.id)) {
        return NULL;
    }
    pthread_mutex_lock(&docs->lock);
    struct leaf_doc *doc = find_locked(docs, key, rev);
    if (doc != NULL) {
        doc->refs++;
    }
    pthread_mutex_unlock(&docs->lock);
    return doc;
}

struct leaf_doc *
leaf_doc_ref(struct leaf_docs *docs, struct leaf_doc *doc)
{
    pthread_mutex_lock(&docs->lock);
    doc->refs++;
    pthread_mutex_unlock(&docs->lock);
    return doc;
}

void
leaf_doc_unref(struct leaf_docs *docs, struct leaf_doc *doc)
{
    if (doc != NULL) {
        pthread_mutex_lock(&docs->lock);
        doc->refs--;
        pthread_mutex_unlock(&docs->lock);
    }
}

bool
leaf_doc_tell(struct leaf_docs *docs, struct leaf_doc *doc, const char *name)
{
    bool known = false;
    pthread_mutex_lock(&docs->lock);
    for (size_t i = 0; !known && i < doc->told_count; i++) {
        known = strcmp(doc->told[i], name) == 0;
    }
    bool tell = !known && doc->told_count < LEAF_TOLD_MOST;
    if (tell) {
        doc->told = ps_xrealloc(doc->told, (doc->told_count + 1) * sizeof *doc->told);
        doc->told[doc->told_count++] = ps_xstrdup(name);
    }
    pthread_mutex_unlock(&docs->lock);
    return tell;
}

void
leaf_columns_to_proto(const struct spec_column *columns, size_t count, Penstock__Column *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct spec_column *column = &columns[i];
        penstock__column__init(&out[i]);
        out[i].name = (char *)(uintptr_t)column->name;
        out[i].type = (char *)(uintptr_t)column_type_name(column->type);
        out[i].from = (char *)(uintptr_t)column->from;
        out[i].value = (char *)(uintptr_t)column->constant;
        for (size_t k = 0; k < sizeof value_names / sizeof value_names[0]; k++) {
            if (column->value == value_names[k].value) {
                out[i].value = (char *)(uintptr_t)value_names[k].text;
            }
        }
        out[i].default_value = (char *)(uintptr_t)column->default_text;
        out[i].has_or_null = out[i].or_null = column->or_null;
        out[i].on_mismatch = (char *)(uintptr_t)mismatch_names[column->on_mismatch];
    }
}
