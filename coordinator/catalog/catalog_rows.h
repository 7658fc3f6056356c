/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/catalog/catalog_rows.h: one plain struct a table family, filled by the writer and by
 * readers alike. States are texts (coordinator/sched's .def tables give their names). Pointers in a
 * row handed to a callback are borrowed until the callback returns. Times are wall milliseconds, 0
 * where there is none. */
#ifndef COORDINATOR_CATALOG_CATALOG_ROWS_H
#define COORDINATOR_CATALOG_CATALOG_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ids.h"
#include "common/span.h"

enum { CAT_STATE_BYTES = 16 };

struct cat_counts {
    uint64_t decoded;
    uint64_t rejected;
    uint64_t filtered;
    uint64_t inserted;
    uint64_t updated;
    uint64_t skipped;
    uint64_t rejected_at_load;
    uint64_t raw_bytes;
    uint64_t unwrapped_bytes;
};

struct cat_pipeline {
    uint64_t id;
    const char *name;
    struct pipeline_uuid uuid;
    uint64_t generation;
    uint32_t spec_rev;
    const char *state;  /* created preparing running stopping stopped completed stalled failed */
    const char *reason; /* NULL: none */
    const char *failure_class; /* NULL, "spec" "source" "destination" */
    const char *spec_json;     /* of spec_rev */
    struct ps_span columns;    /* of spec_rev: a packed penstock.SpecDoc that has only columns */
    const char *table;         /* NULL before prepare */
    const char *format_note;   /* NULL before prepare */
    uint64_t revision;         /* rises with every change of this row */
    int64_t created_ms;
    int64_t started_ms;
    int64_t ended_ms;
    bool prepared;           /* columns are frozen, the table and the fence exist */
    bool reconciled;         /* the destination's fence was read since the latest start */
    bool discovery_complete; /* since the latest start or interval */
    struct ps_span discover_cursor;
    uint64_t next_bp_id;
    uint64_t next_batch_number;
    /* Totals, kept by the writer, never counted. */
    uint64_t objects;
    uint64_t objects_done;
    uint64_t objects_pending;
    uint64_t objects_quarantined;
    uint64_t bytes;
    uint64_t bytes_done;
    uint64_t bytes_pending; /* estimate, unwrapped, of what pending batch partitions still hold */
    uint64_t batches_open;  /* pending, leased, waiting, cancelling */
    uint64_t batches_loaded;
    uint64_t batches_quarantined;
    uint64_t retries;
    struct cat_counts counts; /* replays' own among them */
    uint64_t replayed;        /* rejects that replays have taken up: their decoded, summed */
    struct ps_span slowest_object;
    uint64_t slowest_ms;
    struct ps_span unknown;   /* a packed penstock.ApiUnknownFields; empty: there are none */
    struct ps_span reconcile; /* a packed penstock.ApiReconcile; empty: there was none */
};

struct cat_object { /* one batch partition */
    uint64_t pipeline_id;
    uint64_t id;
    uint64_t generation;
    struct ps_span key;
    struct ps_span version;
    struct bp_hash hash; /* of key and version: read, never written */
    uint64_t size_bytes; /* as stored */
    bool compressed;
    bool weak;
    int64_t mtime_ms;
    const char *state;     /* pending open done quarantined */
    uint64_t offset;       /* all before it is loaded; bytes of the unwrapped stream */
    uint64_t rest_bytes;   /* estimate, unwrapped, of what is left behind offset */
    struct ps_span resume; /* the decoder's token that stands at offset; empty: none */
    bool has_batch;
    struct batch_id batch; /* the latest one that holds or held it */
    const char *reason;    /* NULL: none */
    uint64_t records;
    uint64_t spent_ms;   /* fetch and load time of its loaded batches */
    uint64_t cut_offset; /* taken in parallel: where the next part is cut; 0: a chain */
};

/* Which batch partitions a list has. Members that a list does not use are said there. */
struct cat_object_page {
    uint64_t pipeline_id;
    uint64_t generation;
    const char *state; /* NULL: all */
    uint64_t after_id; /* 0: from the start */
    uint32_t limit;
};

struct cat_batch_page {
    uint64_t pipeline_id;
    const char *state;               /* NULL: all */
    const struct batch_id *after_id; /* NULL: from the start */
    uint32_t limit;
};

struct cat_event_page {
    const char *pipeline; /* NULL: all */
    uint64_t after_id;    /* 0: from the start */
    uint32_t limit;
};

struct cat_range {
    uint64_t bp_id;
    uint64_t from;
    uint64_t target_bytes;
    bool part; /* a row of `part`: other ranges of this batch partition may be open too */
};

struct cat_part { /* a range behind the offset of a batch partition that is taken in parallel */
    uint64_t pipeline_id;
    uint64_t bp_id;
    uint64_t from; /* where it was cut: it owns the records that begin in [from, from + target) */
    uint64_t target_bytes;
    const char *state; /* free open loaded */
    bool has_batch;
    struct batch_id batch; /* open, loaded: the one that holds or held it */
    /* loaded: */
    uint64_t start; /* of its first record */
    uint64_t end;   /* of its last record; equal to start: no record begins in it */
    bool eof;
    uint64_t records;
    struct ps_span resume; /* the token that stands at end */
};

struct cat_batch {
    uint64_t pipeline_id;
    struct batch_id id;
    uint64_t generation;
    uint32_t spec_rev;
    const char *state; /* pending leased waiting quarantined cancelling cancelled loaded */
    uint64_t epoch;    /* of the latest grant; 0 before the first */
    const char *agent; /* of the latest grant; NULL before the first */
    struct incarnation incarnation;
    uint32_t leaf;
    bool leased;         /* state leased, or cancelling with its tombstone under way */
    uint32_t attempts;   /* ends that were not graceful */
    uint32_t killed;     /* how many different leaves died with it */
    const char *killers; /* "agent/leaf agent/leaf", NULL: none */
    int64_t retry_ms;    /* wall: not before this; only for people, the engine re-arms at start */
    const char *code;    /* of the latest failure; NULL: none */
    const char *reason;  /* of the latest failure; NULL: none */
    uint64_t fault_bp;   /* cancelling: the batch partition to quarantine; 0: none */
    uint32_t ranges;
    uint64_t bytes; /* estimate at the cut */
    struct ps_span first_object;
    struct cat_counts counts;
    uint64_t fetch_ms;
    uint64_t stage_ms;
    uint64_t load_ms;
    int64_t created_ms;
    int64_t ended_ms;
};

struct cat_known_range { /* from a destination's ledger: loaded by a catalog that is gone */
    uint64_t pipeline_id;
    struct bp_hash hash;
    uint64_t from;
    uint64_t end;
    bool eof;
    struct ps_span resume;
    struct batch_id batch;
    uint64_t records;
};

struct cat_agent {
    const char *name;
    struct incarnation incarnation;
    const char *state; /* online gone draining */
    const char *version;
    uint32_t leaves;
    uint32_t pid;
    struct ps_span host_token;
    int64_t hello_ms;
};

struct cat_event {
    uint64_t id;
    int64_t at_ms;
    const char *pipeline; /* name; NULL: none */
    const char *kind;     /* "batch.leased" */
    const char *subject;  /* batch id, object, agent; NULL: none */
    const char *text;     /* NULL: none */
};

#endif
