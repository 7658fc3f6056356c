/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_doc.h: the frozen pipeline documents this leaf has been sent.
 * Invariant: a document never changes; whoever holds a reference may read it from any thread.
 * Threads: the cache is safe from any thread. */
#ifndef AGENT_LEAF_LEAF_DOC_H
#define AGENT_LEAF_LEAF_DOC_H

#include "common/error.h"
#include "common/ids.h"
#include "proto/frame.h"
#include "spec/spec.h"

struct leaf_doc {
    struct pipeline_uuid uuid;
    uint64_t generation;
    uint32_t rev;
    char *name;
    struct spec *spec;
    struct spec_column *columns; /* empty before prepare */
    size_t column_count;
    struct bp_hash digest; /* of the spec and the columns, as they came */
    int refs;              /* under the cache's lock, as what follows */
    char **told;           /* unknown fields that the coordinator has heard of */
    size_t told_count;
};

struct leaf_docs;

struct leaf_docs *leaf_docs_new(void);
void leaf_docs_free(struct leaf_docs *docs);

/* Keeps the document; an equal (uuid, revision) that is already there stays. */
PS_MUSTCHECK enum ps_status leaf_docs_put(struct leaf_docs *docs, const Penstock__SpecDoc *doc,
                                          struct ps_error *err);
/* A new reference, or NULL. */
struct leaf_doc *leaf_docs_find(struct leaf_docs *docs, struct ps_span uuid, uint32_t rev);
struct leaf_doc *leaf_doc_ref(struct leaf_docs *docs, struct leaf_doc *doc);
void leaf_doc_unref(struct leaf_docs *docs, struct leaf_doc *doc); /* NULL is fine */

/* True the first time that this field is told; beyond LEAF_TOLD_MOST of a document, never. */
enum { LEAF_TOLD_MOST = 200 };
bool leaf_doc_tell(struct leaf_docs *docs, struct leaf_doc *doc, const char *name);

/* From their wire form; freed by leaf_columns_free. */
PS_MUSTCHECK enum ps_status leaf_columns_from_proto(Penstock__Column *const *in, size_t count,
                                                    struct spec_column **out, struct ps_error *err);
void leaf_columns_free(struct spec_column *columns, size_t count);

/* The wire form of columns; out has room for count, its texts are borrowed from columns. */
void leaf_columns_to_proto(const struct spec_column *columns, size_t count, Penstock__Column *out);

#endif
