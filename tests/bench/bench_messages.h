/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/bench_messages.h: what an agent says, with made-up content. Messages borrow from the
 * structs here: pack or copy them before the struct ends. */
#ifndef TESTS_BENCH_BENCH_MESSAGES_H
#define TESTS_BENCH_BENCH_MESSAGES_H

#include <stdio.h>
#include <string.h>

#include "common/ids.h"
#include "proto/frame.h"

enum {
    BENCH_PAGE = 1000, /* objects a page of discovery */
    BENCH_OBJECT_BYTES = 64 * 1024 * 1024,
    BENCH_ROWS = 1000, /* a batch */
};

struct bench_speaker {
    char name[32];
    struct ps_id incarnation;
    uint64_t seq;
    Penstock__Stamp seen;
};

static inline void
bench_speaker_init(struct bench_speaker *speaker, size_t number)
{
    *speaker = (struct bench_speaker){.incarnation = ps_id_new()};
    snprintf(speaker->name, sizeof speaker->name, "bench-%05zu", number);
    penstock__stamp__init(&speaker->seen);
}

static inline Penstock__Origin
bench_origin(struct bench_speaker *speaker, uint32_t lane)
{
    Penstock__Origin origin = PENSTOCK__ORIGIN__INIT;
    origin.agent = speaker->name;
    origin.incarnation = proto_bytes(speaker->incarnation.b, PS_ID_BYTES);
    origin.lane = lane;
    origin.seq = ++speaker->seq;
    origin.seen = &speaker->seen;
    return origin;
}

static inline void
bench_take_stamp(struct bench_speaker *speaker, const Penstock__Stamp *stamp)
{
    if (stamp->commit_seq > speaker->seen.commit_seq) {
        speaker->seen.cluster_epoch = stamp->cluster_epoch;
        speaker->seen.commit_seq = stamp->commit_seq;
    }
}

static inline Penstock__Hello
bench_hello(Penstock__Origin *origin, uint32_t leaves)
{
    Penstock__Hello hello = PENSTOCK__HELLO__INIT;
    hello.origin = origin;
    hello.protocol_min = hello.protocol_max = 1;
    hello.version = (char *)(uintptr_t) "bench";
    hello.leaves = leaves;
    hello.host_token = proto_bytes("bench", 5);
    return hello;
}

/* One page of discovery. */
struct bench_page {
    Penstock__ObjectRef refs[BENCH_PAGE];
    Penstock__ObjectRef *list[BENCH_PAGE];
    char keys[BENCH_PAGE][80];
    char versions[BENCH_PAGE][40];
};

static inline Penstock__Discovered
bench_discovered(struct bench_page *page, Penstock__Origin *origin, const Penstock__Task *task,
                 uint64_t first, uint64_t objects)
{
    Penstock__Discovered found = PENSTOCK__DISCOVERED__INIT;
    found.origin = origin;
    found.task_id = task->task_id;
    found.epoch = task->epoch;
    found.objects = page->list;
    for (uint64_t i = first; i < first + BENCH_PAGE && i < objects; i++) {
        size_t at = found.n_objects++;
        Penstock__ObjectRef *ref = page->list[at] = &page->refs[at];
        penstock__object_ref__init(ref);
        /* 57 and 32 bytes: names as they are in buckets, with an ETag. */
        snprintf(page->keys[at], sizeof page->keys[0],
                 "events/year=2024/month=%02u/day=%02u/part-%010llu-c000.csv",
                 (unsigned)(i / 840000 % 12 + 1), (unsigned)(i / 30000 % 28 + 1),
                 (unsigned long long)i);
        snprintf(page->versions[at], sizeof page->versions[0], "%016llx%016llx",
                 (unsigned long long)(i * 0x9E3779B97F4A7C15u),
                 (unsigned long long)(i * 0xBF58476D1CE4E5B9u));
        ref->key = proto_bytes(page->keys[at], strlen(page->keys[at]));
        ref->version = proto_bytes(page->versions[at], strlen(page->versions[at]));
        ref->has_size_bytes = ref->has_mtime_ms = true;
        ref->size_bytes = BENCH_OBJECT_BYTES;
        ref->mtime_ms = 1700000000000 + (int64_t)i;
    }
    found.cursor = page->list[found.n_objects - 1]->key;
    found.last = first + BENCH_PAGE >= objects;
    return found;
}

/* The destination is new; it takes one column. */
struct bench_result {
    Penstock__DestState dest;
    Penstock__Column column;
    Penstock__Column *columns[1];
};

static inline Penstock__TaskResult
bench_result(struct bench_result *own, Penstock__Origin *origin, const Penstock__Task *task)
{
    Penstock__TaskResult result = PENSTOCK__TASK_RESULT__INIT;
    result.origin = origin;
    result.task_id = task->task_id;
    result.epoch = task->epoch;
    result.last = result.ok = true;
    if (task->kind == PENSTOCK__TASK_KIND__TASK_PREPARE) {
        penstock__column__init(&own->column);
        own->column.name = (char *)(uintptr_t) "a";
        own->column.type = (char *)(uintptr_t) "text";
        own->columns[0] = &own->column;
        result.n_columns = 1;
        result.columns = own->columns;
    } else {
        penstock__dest_state__init(&own->dest);
        result.dest = &own->dest;
    }
    return result;
}

/* A batch with one range, from its grant to its report. */
struct bench_batch {
    struct ps_id id;
    struct ps_id hash;
    uint64_t epoch;
    uint32_t leaf;
    uint64_t bp_id;
    uint64_t from;
};

static inline struct bench_batch
bench_batch(const Penstock__Grant *grant)
{
    const Penstock__Range *range = grant->batch->ranges[0];
    struct bench_batch batch = {
        .epoch = grant->epoch, .leaf = grant->leaf, .bp_id = range->bp_id, .from = range->from};
    memcpy(batch.id.b, grant->batch->batch_id.data, PS_ID_BYTES);
    memcpy(batch.hash.b, range->bp_hash.data, PS_ID_BYTES);
    return batch;
}

struct bench_done {
    Penstock__Counts counts;
    Penstock__RangeEnd end;
    Penstock__RangeEnd *ends[1];
};

static inline Penstock__Done
bench_done(struct bench_done *own, Penstock__Origin *origin, const struct bench_batch *batch)
{
    Penstock__Done done = PENSTOCK__DONE__INIT;
    penstock__counts__init(&own->counts);
    own->counts.has_decoded = own->counts.has_inserted = own->counts.has_raw_bytes = true;
    own->counts.has_unwrapped_bytes = true;
    own->counts.decoded = own->counts.inserted = BENCH_ROWS;
    own->counts.raw_bytes = own->counts.unwrapped_bytes = BENCH_OBJECT_BYTES;
    penstock__range_end__init(&own->end);
    own->end.bp_id = batch->bp_id;
    own->end.bp_hash = proto_bytes(batch->hash.b, PS_ID_BYTES);
    own->end.from = batch->from;
    own->end.end = BENCH_OBJECT_BYTES;
    own->end.eof = true;
    own->end.has_records = true;
    own->end.records = BENCH_ROWS;
    own->ends[0] = &own->end;
    done.origin = origin;
    done.batch_id = proto_bytes(batch->id.b, PS_ID_BYTES);
    done.epoch = batch->epoch;
    done.outcome = PENSTOCK__OUTCOME__OUTCOME_LOADED;
    done.counts = &own->counts;
    done.n_ends = 1;
    done.ends = own->ends;
    done.has_leaf = done.has_fetch_ms = done.has_load_ms = true;
    done.leaf = batch->leaf;
    done.fetch_ms = 40;
    done.load_ms = 60;
    return done;
}

#endif
