/* SPDX-License-Identifier: Apache-2.0 */
/* What every destination promises of batches (design §3.2): each once, whoever tries it, and what
 * the ledger and the fence say of it. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/alloc.h"
#include "tests/support/dest_contract.h"

TestSuite(dest_ledger, .fini = contract_end);

/* Drivers that no machine of ours can run against their own server. */
static const char *const without_a_side[] = {"singlestore"};

Test(dest_ledger, every_driver_is_in_the_suite)
{
    for (const struct dest_ops *const *ops = dest_all(); *ops != NULL; ops++) {
        bool excused = false;
        for (size_t i = 0; i < sizeof without_a_side / sizeof without_a_side[0]; i++) {
            excused = excused || strcmp((*ops)->scheme, without_a_side[i]) == 0;
        }
        cr_assert(excused || dest_side_find((*ops)->scheme) != NULL,
                  "driver %s has no struct dest_side", (*ops)->scheme);
    }
}

Test(dest_ledger, loads_once)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_row(&batch, "in", (int64_t)2);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 2);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,one|2,NULL");
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.inserted, 2);
    cr_assert_eq(batch.result.counts.decoded, 2);
    cr_assert_eq(batch.result.range_count, 1);
    cr_assert(batch.result.ranges[0].eof);
    cr_assert_eq(batch.result.ranges[0].end, batch.ranges[0].end);
    cr_assert(ps_span_eq(batch.result.ranges[0].resume, ps_span_str("resume")));
    cr_assert(ps_span_eq(batch.result.ranges[0].key, batch.ranges[0].key));
    cr_assert(ps_span_eq(batch.result.ranges[0].version, batch.ranges[0].version));
    cr_assert(ps_id_eq(batch.result.ranges[0].bp.id, batch.ranges[0].bp.id));
    rows_are("SELECT count(*) FROM t", "2");
    fixture_batch_fini(&batch);
}

Test(dest_ledger, already_tells_the_ledgers_end_not_ours)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    batch.ranges[0].end = 777;
    load_is(&f, &batch, DEST_LOADED);
    batch.ranges[0].end = 999;
    batch.ranges[0].resume = ps_span_str("other");
    batch.batch.counts.decoded = 5;
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.ranges[0].end, 777);
    cr_assert(ps_span_eq(batch.result.ranges[0].resume, ps_span_str("resume")));
    cr_assert_eq(batch.result.counts.decoded, 1);
    fixture_batch_fini(&batch);
}

Test(dest_ledger, a_tombstone_stands)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_tombstone(&f, &batch, DEST_CANCELLED);
    fixture_tombstone(&f, &batch, DEST_CANCELLED);
    load_is(&f, &batch, DEST_CANCELLED);
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT count(*) FROM _penstock_ledger_range", "0");
    fixture_batch_fini(&batch);
    load_one(1, 1, "its range is free again");
}

Test(dest_ledger, a_tombstone_that_comes_too_late_finds_it_loaded)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    load_is(&f, &batch, DEST_LOADED);
    fixture_tombstone(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.counts.inserted, 1);
    cr_assert_eq(batch.result.range_count, 1);
    rows_are("SELECT count(*) FROM t", "1");
    fixture_batch_fini(&batch);
}

/* ---- the fence */

Test(dest_ledger, another_generation_or_pipeline_changes_nothing)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    batch.batch.generation = 2;
    load_is(&f, &batch, DEST_FENCE_MISMATCH);
    batch.batch.generation = 1;
    batch.batch.pipeline.id.b[3] ^= 1;
    load_is(&f, &batch, DEST_FENCE_MISMATCH);
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT count(*) FROM _penstock_ledger", "0");
    batch.batch.pipeline.id.b[3] ^= 1;
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
}

Test(dest_ledger, a_newer_generation_takes_over)
{
    begin_two(KEEPS, "");
    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 3, &state, &err), PS_OK);
    cr_assert_eq(state.generation, 3);
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 2, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "fence_conflict");
    struct pipeline_uuid other = {ps_id_new()};
    cr_assert_eq(fixture_try_prepare(&f, other, 3, &state, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "fence_conflict");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    load_is(&f, &batch, DEST_FENCE_MISMATCH);
    batch.batch.generation = 3;
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    /* What older generations loaded is no part of the new one's totals. */
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 4, &state, &err), PS_OK);
    cr_assert_eq(state.batches, 0);
    cr_assert_eq(state.totals.inserted, 0);
}

/* ---- ranges */

Test(dest_ledger, a_range_has_one_owner)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    struct fixture_batch twin;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_batch_init(&f, &twin, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    fixture_row(&twin, "is", (int64_t)1, "one");
    load_is(&f, &batch, DEST_LOADED);
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &twin, &err), PS_OK);
    cr_assert_eq(twin.result.outcome, DEST_RANGE_CONFLICT);
    char id[PS_ID_TEXT_BYTES];
    cr_assert_not_null(strstr(err.text, ps_id_text(batch.batch.id.id, id)), "%s", err.text);
    rows_are("SELECT count(*) FROM t", "1");
    rows_are("SELECT count(*) FROM _penstock_ledger", "1");
    fixture_batch_fini(&batch);
    fixture_batch_fini(&twin);
}

static enum dest_outcome
load_range(uint64_t from, uint64_t end)
{
    struct fixture_batch batch;
    struct ps_error err = {0};
    fixture_batch_init(&f, &batch, 2, 1);
    batch.ranges[0].from = from;
    batch.ranges[0].end = end;
    batch.ranges[0].eof = false;
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_OK, "%s", err.text);
    enum dest_outcome outcome = batch.result.outcome;
    fixture_batch_fini(&batch);
    return outcome;
}

Test(dest_ledger, ranges_of_an_object_have_no_byte_in_common)
{
    begin_two(KEEPS, "");
    cr_assert_eq(load_range(0, 100), DEST_LOADED);
    cr_assert_eq(load_range(300, 400), DEST_LOADED);
    cr_assert_eq(load_range(250, 301), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(399, 500), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(310, 320), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(90, 450), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(350, 350), DEST_LOADED, "nothing begins there");
    cr_assert_eq(load_range(400, 401), DEST_LOADED);
    cr_assert_eq(load_range(100, 300), DEST_LOADED);
    cr_assert_eq(load_range(360, 370), DEST_RANGE_CONFLICT);
    cr_assert_eq(load_range(450, 450), DEST_LOADED);
    cr_assert_eq(load_range(440, 460), DEST_LOADED, "nothing is owned where nothing began");
    rows_are("SELECT count(*) FROM _penstock_ledger", "7");
}

enum { MANY_RANGES = 1500 };

/* Names need not be text, tokens are any bytes. */
Test(dest_ledger, many_ranges_of_any_bytes_come_back_equal)
{
    begin_two(KEEPS, "");
    struct dest_range *ranges = ps_xcalloc(MANY_RANGES, sizeof *ranges);
    static uint8_t key[MANY_RANGES][12];
    static uint8_t token[60000];
    for (size_t i = 0; i < sizeof token; i++) {
        token[i] = (uint8_t)(i * 7);
    }
    for (size_t i = 0; i < MANY_RANGES; i++) {
        memcpy(key[i], "\xff\0\n'\\\"%\x80", 8);
        memcpy(key[i] + 8, &(uint32_t){(uint32_t)i}, 4);
        ranges[i] = (struct dest_range){.key = ps_span(key[i], 12),
                                        .version = ps_span(key[i] + 2, i % 2 == 0 ? 0 : 9),
                                        .end = (uint64_t)INT64_MAX - i,
                                        .eof = i % 3 == 0,
                                        .records = i};
        ranges[i].resume = ps_span(token, i % 50 == 1 ? sizeof token : i % 7);
        ranges[i].bp = ps_bp_hash(ranges[i].key, ranges[i].version);
    }
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "one");
    batch.batch.ranges = ranges;
    batch.batch.range_count = MANY_RANGES;
    load_is(&f, &batch, DEST_LOADED);
    load_is(&f, &batch, DEST_ALREADY);
    cr_assert_eq(batch.result.range_count, MANY_RANGES);
    for (size_t i = 0; i < MANY_RANGES; i++) {
        const struct dest_range *got = &batch.result.ranges[i];
        uint32_t at = 0;
        cr_assert_eq(got->key.len, 12);
        memcpy(&at, got->key.ptr + 8, 4);
        cr_assert_lt(at, MANY_RANGES);
        const struct dest_range *gave = &ranges[at];
        cr_assert(ps_span_eq(got->key, gave->key) && ps_span_eq(got->version, gave->version) &&
                      ps_span_eq(got->resume, gave->resume) && got->end == gave->end &&
                      got->eof == gave->eof && got->records == gave->records &&
                      ps_id_eq(got->bp.id, gave->bp.id),
                  "range %u", at);
    }
    fixture_batch_fini(&batch);
    ps_free(ranges);
}

/* ---- at once */

struct racer {
    pthread_t thread;
    struct dest *dest;
    struct fixture_batch batch;
    struct dest_state state;
    enum ps_status status;
    struct ps_error err;
};

enum { RACERS = 4, RACE_ROUNDS = 8, TRIES = 60 };

static void *
race_to_load(void *ctx)
{
    struct racer *racer = ctx;
    for (int i = 0; i < TRIES; i++) {
        racer->status = fixture_load_by(&f, racer->dest, &racer->batch, &racer->err);
        if (racer->status != PS_AGAIN) {
            break;
        }
    }
    return NULL;
}

Test(dest_ledger, of_twins_at_once_one_loads)
{
    begin_two(KEEPS, "");
    struct racer racers[RACERS] = {0};
    for (int i = 0; i < RACERS; i++) {
        racers[i].dest = fixture_open_twin(&f);
    }
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        fixture_batch_init(&f, &racers[0].batch, 2, round);
        for (int i = 0; i < RACERS; i++) {
            if (i > 0) {
                fixture_batch_init_twin(&f, &racers[i].batch, &racers[0].batch);
            }
            for (int64_t row = 0; row < 300; row++) {
                fixture_row(&racers[i].batch, "is", row, "x");
            }
            fixture_batch_seal(&racers[i].batch);
        }
        int loaded = 0;
        for (int i = 0; i < RACERS; i++) {
            cr_assert_eq(pthread_create(&racers[i].thread, NULL, race_to_load, &racers[i]), 0);
        }
        for (int i = 0; i < RACERS; i++) {
            pthread_join(racers[i].thread, NULL);
            cr_assert_eq(racers[i].status, PS_OK, "%s", racers[i].err.text);
            enum dest_outcome outcome = racers[i].batch.result.outcome;
            cr_assert(outcome == DEST_LOADED || outcome == DEST_ALREADY, "outcome %d", outcome);
            cr_assert_eq(racers[i].batch.result.counts.inserted, 300);
            loaded += outcome == DEST_LOADED;
            fixture_batch_fini(&racers[i].batch);
        }
        cr_assert_eq(loaded, 1);
    }
    for (int i = 0; i < RACERS; i++) {
        f.ops->close(racers[i].dest);
    }
    char expected[40];
    snprintf(expected, sizeof expected, "%d", 300 * RACE_ROUNDS);
    rows_are("SELECT count(*) FROM t", expected);
}

static void *
race_to_prepare(void *ctx)
{
    struct racer *racer = ctx;
    struct dest_table table = {
        .pipeline_name = "p", .uuid = f.uuid, .generation = 1, .columns = two, .count = 2};
    for (int i = 0; i < TRIES; i++) {
        racer->status = f.ops->prepare(racer->dest, &table, &racer->state, &racer->err);
        if (racer->status != PS_AGAIN) {
            break;
        }
    }
    return NULL;
}

Test(dest_ledger, prepare_is_idempotent_also_at_once)
{
    begin(ANY);
    fixture_open(&f, "");
    struct racer racers[RACERS] = {0};
    for (int i = 0; i < RACERS; i++) {
        racers[i].dest = fixture_open_twin(&f);
        cr_assert_eq(pthread_create(&racers[i].thread, NULL, race_to_prepare, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        cr_assert_eq(racers[i].status, PS_OK, "%s", racers[i].err.text);
        cr_assert(racers[i].state.table_exists && racers[i].state.has_fence);
        cr_assert_eq(racers[i].state.generation, 1);
        f.ops->close(racers[i].dest);
    }
    fixture_prepare(&f, two, 2);
    load_one(1, 1, "one");
    fixture_prepare(&f, two, 2);
    rows_are("SELECT count(*) FROM t", "1");
    rows_are("SELECT count(*) FROM _penstock_fence", "1");
}

/* ---- what can be read of it */

Test(dest_ledger, nothing_there_is_a_state)
{
    begin(ANY);
    fixture_open(&f, "");
    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK, "%s", err.text);
    cr_assert_not(state.table_exists);
    cr_assert_not(state.has_fence);
    fixture_prepare(&f, two, 2);
    cr_assert_eq(f.ops->state(f.dest, "somebody_else", &state, &err), PS_OK, "%s", err.text);
    cr_assert_not(state.has_fence);
    cr_assert_eq(state.batches, 0);
}

Test(dest_ledger, a_load_before_any_prepare_is_refused)
{
    begin(KEEPS);
    fixture_open(&f, "");
    f.columns = two;
    f.column_count = 2;
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)5, "five");
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_REFUSED, "%s", err.text);
    cr_assert(err.code != NULL && err.code[0] != '\0', "%s", err.text);
    fixture_prepare(&f, two, 2);
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
}

struct seen {
    size_t count;
    uint64_t sum;
    size_t full_after; /* rows of a page; 0 = any */
    size_t in_page;
};

static enum ps_status
see(struct seen *seen, uint64_t number, struct ps_error *err)
{
    if (seen->full_after != 0 && seen->in_page == seen->full_after) {
        return ps_fail(err, PS_FULL, "enough");
    }
    seen->in_page++;
    seen->count++;
    seen->sum += number;
    return PS_OK;
}

static enum ps_status
see_range(void *ctx, const struct dest_range *range, struct batch_id batch, struct ps_error *err)
{
    cr_assert_not(ps_id_is_zero(batch.id));
    return see(ctx, range->end + range->eof, err);
}

static enum ps_status
see_reject(void *ctx, const struct dest_reject_row *row, struct ps_error *err)
{
    cr_assert(ps_span_eq(row->raw, ps_span_str("raw bytes")));
    cr_assert(ps_span_eq(row->code, ps_span_str("type")));
    cr_assert(ps_span_eq(row->column, ps_span_str("name")));
    cr_assert_gt(row->at_ms, 0);
    return see(ctx, row->offset, err);
}

/* How many pages there were. */
static size_t
read_pages(struct pipeline_uuid uuid, size_t limit, bool ranges, struct seen *seen)
{
    struct ps_error err = {0};
    struct ps_buf cursor = PS_BUF_INIT;
    size_t pages = 0;
    for (bool last = false; !last; pages++) {
        struct ps_buf next = PS_BUF_INIT;
        struct dest_page page = {
            .uuid = uuid, .cursor = ps_buf_span(&cursor), .limit = limit, .next = &next};
        seen->in_page = 0;
        enum ps_status status = ranges ? f.ops->ledger(f.dest, &page, see_range, seen, &err)
                                       : f.ops->rejects(f.dest, &page, see_reject, seen, &err);
        cr_assert(status == PS_OK || (status == PS_FULL && seen->full_after != 0), "%s", err.text);
        last = page.last;
        ps_buf_fini(&cursor);
        cursor = next;
    }
    ps_buf_fini(&cursor);
    return pages;
}

Test(dest_ledger, pages_and_totals)
{
    begin_two(KEEPS, "");
    uint64_t sum = 0;
    for (unsigned i = 1; i <= 25; i++) {
        struct fixture_batch batch;
        fixture_batch_init(&f, &batch, 2, i);
        fixture_row(&batch, "is", (int64_t)i, "x");
        fixture_reject(&batch, i, "why");
        batch.ranges[0].end = i * 10;
        batch.batch.cluster_epoch = 2;
        batch.batch.commit_seq = i;
        batch.batch.counts.unwrapped_bytes = 100;
        sum += i * 10 + 1;
        load_is(&f, &batch, DEST_LOADED);
        fixture_batch_fini(&batch);
    }
    struct seen seen = {0};
    cr_assert_eq(read_pages(f.uuid, 10, true, &seen), 3);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, sum);
    /* A page that its reader finds too large goes on where that stopped. */
    seen = (struct seen){.full_after = 4};
    cr_assert_eq(read_pages(f.uuid, 10, true, &seen), 7);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, sum);
    seen = (struct seen){0};
    cr_assert_eq(read_pages(f.uuid, 7, false, &seen), 4);
    cr_assert_eq(seen.count, 25);
    cr_assert_eq(seen.sum, 25 * 26 / 2);
    struct ps_error err = {0};
    struct dest_state state;
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK);
    cr_assert_eq(state.batches, 25);
    cr_assert_eq(state.totals.decoded, 50);
    cr_assert_eq(state.totals.inserted, 25);
    cr_assert_eq(state.totals.rejected, 25);
    cr_assert_eq(state.totals.unwrapped_bytes, 2500);
    cr_assert_eq(state.cluster_epoch, 2);
    cr_assert_eq(state.commit_seq, 25);
    cr_assert(ps_id_eq(state.uuid.id, f.uuid.id));
    struct pipeline_uuid stranger = {ps_id_new()};
    seen = (struct seen){0};
    cr_assert_eq(read_pages(stranger, 10, true, &seen), 1);
    cr_assert_eq(read_pages(stranger, 10, false, &seen), 1);
    cr_assert_eq(seen.count, 0);
}
