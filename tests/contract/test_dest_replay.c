/* SPDX-License-Identifier: Apache-2.0 */
/* What every destination promises of rejects: they are listed, and a replay takes each up at most
 * once, whoever else does (docs/REJECTS.md, tests/model/eo_replay.pml). */
#include <inttypes.h>
#include <pthread.h>

#include "common/alloc.h"
#include "tests/support/dest_contract.h"

TestSuite(dest_replay, .fini = contract_end);

enum { ROWS_MOST = 64 };

struct seen {
    struct dest_reject_row rows[ROWS_MOST];
    char codes[ROWS_MOST][24], reasons[ROWS_MOST][80], raws[ROWS_MOST][40], edited[ROWS_MOST][8];
    size_t count;
};

static void
keep(struct ps_span text, char *out, size_t cap)
{
    snprintf(out, cap, "%.*s", (int)text.len, text.len == 0 ? "" : (const char *)text.ptr);
}

static enum ps_status
see(void *ctx, const struct dest_reject_row *row, struct ps_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    cr_assert_lt(seen->count, ROWS_MOST);
    seen->rows[seen->count] = *row;
    keep(row->code, seen->codes[seen->count], sizeof seen->codes[0]);
    keep(row->reason, seen->reasons[seen->count], sizeof seen->reasons[0]);
    keep(row->raw, seen->raws[seen->count], sizeof seen->raws[0]);
    keep(row->edited, seen->edited[seen->count], sizeof seen->edited[0]);
    seen->count++;
    return PS_OK;
}

/* All that pass the filter, in pages of two. */
static void
list(const struct dest_reject_filter *filter, struct seen *out)
{
    struct ps_buf cursor = PS_BUF_INIT;
    struct ps_buf next = PS_BUF_INIT;
    *out = (struct seen){0};
    for (bool last = false; !last;) {
        struct ps_error err = {0};
        struct dest_page page = {.uuid = f.uuid,
                                 .cursor = ps_buf_span(&cursor),
                                 .limit = 2,
                                 .next = &next,
                                 .filter = filter};
        ps_buf_clear(&next);
        cr_assert_eq(f.ops->rejects(f.dest, &page, see, out, &err), PS_OK, "%s", err.text);
        last = page.last;
        struct ps_buf swap = cursor;
        cursor = next;
        next = swap;
    }
    ps_buf_fini(&cursor);
    ps_buf_fini(&next);
    for (size_t i = 1; i < out->count; i++) {
        cr_assert_lt(out->rows[i - 1].n, out->rows[i].n, "numbers rise");
    }
}

static size_t
count_in(enum dest_reject_state state)
{
    struct seen seen;
    const struct dest_reject_filter filter = {.state = state};
    list(&filter, &seen);
    for (size_t i = 0; i < seen.count; i++) {
        cr_assert(state == REJECT_ANY || seen.rows[i].state == state);
    }
    return seen.count;
}

/* A loaded batch of object `number` with one row and so many rejects at offsets 100, 101, … */
static struct batch_id
load_with_rejects(unsigned number, unsigned rejects)
{
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, number);
    fixture_row(&batch, "is", (int64_t)number * 1000, "row");
    for (unsigned i = 0; i < rejects; i++) {
        fixture_reject(&batch, 100 + i, "was wrong");
    }
    load_is(&f, &batch, DEST_LOADED);
    struct batch_id id = batch.batch.id;
    fixture_batch_fini(&batch);
    return id;
}

/* A batch that takes up these; rows and rejects are added by the test. */
static void
begin_replay(struct fixture_batch *batch, unsigned number, const struct dest_replay *replays,
             size_t count)
{
    fixture_batch_init(&f, batch, 2, number);
    batch->batch.range_count = 0;
    batch->batch.replays = replays;
    batch->batch.replay_count = count;
}

static void
replay_rows(struct fixture_batch *batch, int64_t first_id)
{
    for (uint32_t i = 0; i < batch->batch.replay_count; i++) {
        batch->range_index = i;
        fixture_row(batch, "is", first_id + i, "replayed");
    }
}

Test(dest_replay, rejects_have_numbers_places_and_a_state)
{
    begin_two(KEEPS, "");
    struct batch_id id = load_with_rejects(1, 5);
    struct seen seen;
    list(NULL, &seen);
    cr_assert_eq(seen.count, 5);
    for (size_t i = 0; i < seen.count; i++) {
        cr_assert(seen.rows[i].n > 0 && seen.rows[i].state == REJECT_OPEN);
        cr_assert(ps_id_eq(seen.rows[i].batch.id, id.id));
        cr_assert_eq(seen.rows[i].offset, 100 + i);
        cr_assert_str_eq(seen.raws[i], "raw bytes");
        cr_assert_str_eq(seen.edited[i], "");
    }
}

Test(dest_replay, a_filter_names_what_is_wanted)
{
    begin_two(KEEPS, "");
    struct batch_id first = load_with_rejects(1, 3);
    (void)load_with_rejects(2, 2);
    struct seen all;
    struct seen seen;
    list(NULL, &all);
    cr_assert_eq(all.count, 5);
    list(&(const struct dest_reject_filter){.batch = &first}, &seen);
    cr_assert_eq(seen.count, 3);
    list(&(const struct dest_reject_filter){.object = ps_span_str("object-2")}, &seen);
    cr_assert_eq(seen.count, 2);
    list(&(const struct dest_reject_filter){.code = ps_span_str("type")}, &seen);
    cr_assert_eq(seen.count, 5);
    list(&(const struct dest_reject_filter){.code = ps_span_str("typ")}, &seen);
    cr_assert_eq(seen.count, 0);
    const struct dest_numbers numbers[] = {{all.rows[0].n, all.rows[1].n},
                                           {all.rows[4].n, all.rows[4].n + 100}};
    list(&(const struct dest_reject_filter){.numbers = numbers, .number_count = 2}, &seen);
    cr_assert_eq(seen.count, 3);
    list(
        &(const struct dest_reject_filter){
            .numbers = numbers, .number_count = 2, .batch = &first, .state = REJECT_OPEN},
        &seen);
    cr_assert_eq(seen.count, 2);
    cr_assert_eq(count_in(REJECT_REPLAYED), 0);
    cr_assert_eq(count_in(REJECT_VOID), 0);
}

Test(dest_replay, a_replay_loads_its_rejects_once)
{
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, 3);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay two_of[] = {{.n = seen.rows[0].n}, {.n = seen.rows[1].n}};
    const struct dest_replay others[] = {{.n = seen.rows[1].n}, {.n = seen.rows[2].n}};
    struct fixture_batch replay;
    struct fixture_batch other;
    begin_replay(&replay, 2, two_of, 2);
    replay_rows(&replay, 1);
    load_is(&f, &replay, DEST_LOADED);
    cr_assert_eq(replay.result.counts.inserted, 2);
    load_is(&f, &replay, DEST_ALREADY);
    cr_assert_eq(replay.result.counts.inserted, 2);
    cr_assert_eq(replay.result.counts.decoded, 2);
    rows_are("SELECT id FROM t ORDER BY id", "1|2|1000");

    /* One of these is not open: nothing is done, and it is named. */
    struct ps_error err = {0};
    char named[32];
    begin_replay(&other, 3, others, 2);
    replay_rows(&other, 11);
    cr_assert_eq(fixture_load(&f, &other, &err), PS_OK, "%s", err.text);
    cr_assert_eq(other.result.outcome, DEST_NOT_OPEN);
    snprintf(named, sizeof named, ": %" PRIu64 ":", seen.rows[1].n);
    cr_assert(strstr(err.text, named) != NULL, "%s in %s", named, err.text);
    rows_are("SELECT id FROM t ORDER BY id", "1|2|1000");
    fixture_batch_fini(&other);

    begin_replay(&other, 4, &others[1], 1);
    replay_rows(&other, 21);
    load_is(&f, &other, DEST_LOADED);
    cr_assert_eq(count_in(REJECT_OPEN), 0);
    cr_assert_eq(count_in(REJECT_REPLAYED), 3);
    list(NULL, &seen);
    cr_assert(ps_id_eq(seen.rows[0].replayed_by.id, replay.batch.id.id));
    cr_assert(ps_id_eq(seen.rows[2].replayed_by.id, other.batch.id.id));
    cr_assert_gt(seen.rows[2].replayed_ms, 0);
    fixture_batch_fini(&other);
    fixture_batch_fini(&replay);
}

Test(dest_replay, the_state_tells_replays_from_batches)
{
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, 2);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay replays[] = {{.n = seen.rows[0].n}, {.n = seen.rows[1].n}};
    struct fixture_batch replay;
    begin_replay(&replay, 2, replays, 2);
    replay_rows(&replay, 1);
    load_is(&f, &replay, DEST_LOADED);
    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(f.ops->state(f.dest, "p", &state, &err), PS_OK, "%s", err.text);
    cr_assert_eq(state.batches, 1);
    cr_assert_eq(state.replayed, 2);
    cr_assert_eq(state.totals.decoded, 5);
    cr_assert_eq(state.totals.inserted, 3);
    cr_assert_eq(state.totals.rejected, 2);
    fixture_batch_fini(&replay);
}

Test(dest_replay, what_is_refused_again_stays_open_with_the_new_reason)
{
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, 3);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay replays[] = {
        {.n = seen.rows[0].n, .edited = "raw", .kept = ps_span_str("corrected")},
        {.n = seen.rows[1].n, .edited = "raw", .kept = ps_span_str("not so")},
        {.n = seen.rows[2].n}};
    struct fixture_batch replay;
    begin_replay(&replay, 2, replays, 3);
    fixture_row(&replay, "is", (int64_t)1, "replayed");
    replay.range_index = 1;
    fixture_reject(&replay, 101, "still wrong");
    replay.range_index = 2;
    fixture_reject(&replay, 102, "as wrong as before");
    load_is(&f, &replay, DEST_LOADED);
    cr_assert_eq(replay.result.counts.inserted, 1);
    cr_assert_eq(replay.result.counts.rejected, 2);
    list(NULL, &seen);
    cr_assert_eq(seen.count, 3, "never a second copy");
    cr_assert_eq(seen.rows[0].state, REJECT_REPLAYED);
    cr_assert_eq(seen.rows[1].state, REJECT_OPEN);
    cr_assert_eq(seen.rows[2].state, REJECT_OPEN);
    cr_assert_str_eq(seen.reasons[1], "still wrong");
    cr_assert_str_eq(seen.raws[1], "not so");
    cr_assert_str_eq(seen.edited[1], "raw");
    cr_assert_str_eq(seen.reasons[2], "as wrong as before");
    cr_assert_str_eq(seen.raws[2], "raw bytes");
    cr_assert_str_eq(seen.edited[2], "");
    cr_assert_eq(seen.rows[1].offset, 101, "it is where it was");
    fixture_batch_fini(&replay);
}

Test(dest_replay, what_is_discarded_is_settled_without_a_row)
{
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, 3);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay replays[] = {{.n = seen.rows[0].n, .discards = true},
                                          {.n = seen.rows[1].n},
                                          {.n = seen.rows[2].n, .discards = true}};
    struct fixture_batch replay;
    begin_replay(&replay, 2, replays, 3);
    replay.range_index = 1;
    fixture_row(&replay, "is", (int64_t)1, "replayed");
    replay.batch.counts.decoded = 3;
    replay.batch.counts.filtered = 2;
    load_is(&f, &replay, DEST_LOADED);
    cr_assert_eq(replay.result.counts.filtered, 2);
    cr_assert_eq(replay.result.counts.inserted, 1);
    cr_assert_eq(count_in(REJECT_DISCARDED), 2);
    cr_assert_eq(count_in(REJECT_REPLAYED), 1);
    cr_assert_eq(count_in(REJECT_OPEN), 0);
    list(NULL, &seen);
    cr_assert(ps_id_eq(seen.rows[0].replayed_by.id, replay.batch.id.id));
    rows_are("SELECT id FROM t ORDER BY id", "1|1000");
    fixture_batch_fini(&replay);
    begin_replay(&replay, 3, replays, 1);
    replay_rows(&replay, 1);
    load_is(&f, &replay, DEST_NOT_OPEN);
    fixture_batch_fini(&replay);
}

Test(dest_replay, what_only_the_table_refuses_stays_open)
{
    begin_table("CREATE TABLE t(id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20))", "");
    (void)load_with_rejects(1, 2);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay replays[] = {{.n = seen.rows[0].n}, {.n = seen.rows[1].n}};
    struct fixture_batch replay;
    begin_replay(&replay, 2, replays, 2);
    fixture_row(&replay, "is", (int64_t)1000, "is there");
    replay.range_index = 1;
    fixture_row(&replay, "is", (int64_t)1, "replayed");
    load_again_is(&replay, DEST_LOADED);
    cr_assert_eq(replay.result.counts.inserted, 1);
    cr_assert_eq(replay.result.counts.rejected_at_load, 1);
    list(NULL, &seen);
    cr_assert_eq(seen.count, 2);
    cr_assert_eq(seen.rows[0].state, REJECT_OPEN);
    cr_assert_str_eq(seen.codes[0], "constraint");
    cr_assert_eq(seen.rows[1].state, REJECT_REPLAYED);
    rows_are("SELECT id, name FROM t ORDER BY id", "1,replayed|1000,row");
    fixture_batch_fini(&replay);
}

Test(dest_replay, rejects_of_tombstones_and_older_generations_are_void)
{
    begin_two(KEEPS, "errors: {tolerance: 1}\n");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_reject(&batch, 100, "was wrong");
    fixture_reject(&batch, 101, "was wrong");
    load_is(&f, &batch, DEST_OVER_TOLERANCE);
    fixture_batch_fini(&batch);
    (void)load_with_rejects(2, 1);
    cr_assert_eq(count_in(REJECT_VOID), 2);
    cr_assert_eq(count_in(REJECT_OPEN), 1);
    struct seen seen;
    list(NULL, &seen);
    const struct dest_replay replays[] = {{.n = seen.rows[0].n}, {.n = seen.rows[2].n}};
    begin_replay(&batch, 3, replays, 1);
    replay_rows(&batch, 1);
    load_is(&f, &batch, DEST_NOT_OPEN);
    fixture_batch_fini(&batch);

    struct dest_state state;
    struct ps_error err = {0};
    cr_assert_eq(fixture_try_prepare(&f, f.uuid, 2, &state, &err), PS_OK, "%s", err.text);
    cr_assert_eq(count_in(REJECT_VOID), 3);
    begin_replay(&batch, 4, &replays[1], 1);
    batch.batch.generation = 2;
    replay_rows(&batch, 1);
    load_is(&f, &batch, DEST_NOT_OPEN);
    rows_are("SELECT id FROM t", "2000");
    fixture_batch_fini(&batch);
}

struct twin {
    pthread_t thread;
    struct dest *dest;
    struct fixture_batch batch;
    enum ps_status status;
    struct ps_error err;
};

static void *
run_twin(void *ctx)
{
    struct twin *twin = ctx;
    int64_t until_ms = ps_clock_mono_ms() + CONTRACT_WAIT_MS;
    do {
        twin->err = (struct ps_error){0};
        twin->status = fixture_load_by(&f, twin->dest, &twin->batch, &twin->err);
    } while (twin->status == PS_AGAIN && ps_clock_mono_ms() < until_ms);
    return NULL;
}

Test(dest_replay, of_many_at_once_one_wins)
{
    enum { TWINS = 4, REJECTS = 40 };
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, REJECTS);
    struct seen seen;
    list(NULL, &seen);
    struct dest_replay replays[REJECTS] = {{0}};
    for (size_t i = 0; i < REJECTS; i++) {
        replays[i].n = seen.rows[i].n;
    }
    struct twin twins[TWINS] = {{0}};
    for (unsigned i = 0; i < TWINS; i++) {
        begin_replay(&twins[i].batch, 2 + i, replays, REJECTS);
        replay_rows(&twins[i].batch, 1);
        fixture_batch_seal(&twins[i].batch);
        twins[i].dest = fixture_open_twin(&f);
    }
    for (unsigned i = 0; i < TWINS; i++) {
        cr_assert_eq(pthread_create(&twins[i].thread, NULL, run_twin, &twins[i]), 0);
    }
    unsigned won = 0;
    for (unsigned i = 0; i < TWINS; i++) {
        pthread_join(twins[i].thread, NULL);
        cr_assert_eq(twins[i].status, PS_OK, "%s", twins[i].err.text);
        won += twins[i].batch.result.outcome == DEST_LOADED;
        cr_assert(twins[i].batch.result.outcome == DEST_LOADED ||
                  twins[i].batch.result.outcome == DEST_NOT_OPEN);
        f.ops->close(twins[i].dest);
        fixture_batch_fini(&twins[i].batch);
    }
    cr_assert_eq(won, 1);
    rows_are("SELECT count(*) FROM t", "41");
    cr_assert_eq(count_in(REJECT_REPLAYED), REJECTS);
}

Test(dest_replay, a_table_of_an_older_version_is_read_and_brought_up_to_date)
{
    begin_two(KEEPS, "");
    (void)load_with_rejects(1, 2);
    if (strcmp(f.side->scheme, "sqlite") == 0) {
        fixture_sql(&f,
                    "CREATE TABLE o AS SELECT batch_id, object, \"offset\", length, line,"
                    " \"column\", code, reason, raw, at_ms FROM t_rejects; DROP TABLE t_rejects;"
                    " ALTER TABLE o RENAME TO t_rejects");
    } else {
        fixture_sql(&f, "ALTER TABLE t_rejects DROP COLUMN replayed_by, DROP COLUMN replayed_ms,"
                        " DROP COLUMN edited");
    }
    (void)load_with_rejects(2, 1);
    struct seen seen;
    list(&(const struct dest_reject_filter){.state = REJECT_OPEN}, &seen);
    cr_assert_eq(seen.count, 3);
    cr_assert_eq(count_in(REJECT_REPLAYED), 0);
    const struct dest_replay replays[] = {{.n = seen.rows[1].n}};
    struct fixture_batch replay;
    begin_replay(&replay, 3, replays, 1);
    replay_rows(&replay, 1);
    load_again_is(&replay, DEST_LOADED);
    struct seen after;
    list(NULL, &after);
    cr_assert_eq(after.count, 3);
    for (size_t i = 0; i < after.count; i++) {
        cr_assert_eq(after.rows[i].n, seen.rows[i].n, "numbers stay");
        cr_assert_eq(after.rows[i].state, i == 1 ? REJECT_REPLAYED : REJECT_OPEN);
    }
    fixture_batch_fini(&replay);
}

static enum ps_status
count_range(void *ctx, const struct dest_range *range, struct batch_id batch, struct ps_error *err)
{
    unsigned *count = ctx;
    (void)batch;
    (void)err;
    cr_assert(ps_span_eq(range->key, ps_span_str("object-1")));
    cr_assert(range->version.len > 0 && range->end > range->from);
    (*count)++;
    return PS_OK;
}

Test(dest_replay, the_ranges_of_one_batch_are_told)
{
    begin_two(KEEPS, "");
    struct batch_id id = load_with_rejects(1, 1);
    (void)load_with_rejects(2, 1);
    unsigned count = 0;
    struct ps_error err = {0};
    cr_assert_eq(f.ops->ranges(f.dest, id, count_range, &count, &err), PS_OK, "%s", err.text);
    cr_assert_eq(count, 1);
    cr_assert_eq(f.ops->ranges(f.dest, (struct batch_id){{{7}}}, count_range, &count, &err), PS_OK);
    cr_assert_eq(count, 1);
}
