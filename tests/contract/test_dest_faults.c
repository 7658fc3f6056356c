/* SPDX-License-Identifier: Apache-2.0 */
/* What every destination promises when somebody dies, stands still, is cut off, gives up or waits
 * for another. A failpoint is read from the environment once a process, at its first place. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/dest_contract.h"

TestSuite(dest_faults, .fini = contract_end);

enum { CRASH_ROWS = 20000 };

static void
fill(struct fixture_batch *batch, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        fixture_row(batch, "is", i, "some text that is long enough to fill pages");
    }
    fixture_reject(batch, 7, "why");
}

/* Another process that loads the batch with these failpoints; it ends with the load's status. The
 * batch is not sealed yet: that is a failpoint, too. */
static pid_t
fork_load(struct fixture_batch *batch, const char *points)
{
    fixture_close(&f);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        setenv("PENSTOCK_FAILPOINTS", points, 1);
        fixture_open(&f, "");
        struct ps_error err = {0};
        _exit((int)fixture_load(&f, batch, &err));
    }
    fixture_open(&f, "");
    return pid;
}

#ifdef PS_FAILPOINTS

static const char rows_sql[] = "SELECT count(*), count(DISTINCT id) FROM t";

static void
crash_at(const char *point, bool committed)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fill(&batch, CRASH_ROWS);
    char points[80];
    snprintf(points, sizeof points, "%s=crash", point);
    pid_t pid = fork_load(&batch, points);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not reached", point);
    rows_are(rows_sql, committed ? "20000,20000" : "0,0");
    rows_are("SELECT count(*) FROM t_rejects", committed ? "1" : "0");
    rows_are("SELECT count(*) FROM _penstock_ledger", committed ? "1" : "0");
    load_again_is(&batch, committed ? DEST_ALREADY : DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, CRASH_ROWS);
    cr_assert_eq(batch.result.counts.rejected, 1);
    rows_are(rows_sql, "20000,20000");
    rows_are("SELECT count(*) FROM t_rejects", "1");
    fixture_batch_fini(&batch);
}

Test(dest_faults, crash_after_fence)
{
    crash_at("dest.after_fence", false);
}

Test(dest_faults, crash_after_ledger)
{
    crash_at("dest.after_ledger", false);
}

Test(dest_faults, crash_after_rows)
{
    crash_at("dest.after_rows", false);
}

Test(dest_faults, crash_before_commit)
{
    crash_at("dest.before_commit", false);
}

Test(dest_faults, crash_after_commit)
{
    crash_at("dest.after_commit", true);
}

static void
error_at(const char *point, enum dest_outcome again)
{
    char points[80];
    snprintf(points, sizeof points, "%s@1=error", point);
    setenv("PENSTOCK_FAILPOINTS", points, 1);
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fill(&batch, 500);
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_AGAIN, "%s", err.text);
    rows_are("SELECT count(*) FROM t", again == DEST_ALREADY ? "500" : "0");
    rows_are("SELECT count(*) FROM t_rejects", again == DEST_ALREADY ? "1" : "0");
    load_is(&f, &batch, again);
    cr_assert_eq(batch.result.counts.inserted, 500);
    rows_are("SELECT count(*) FROM t", "500");
    rows_are("SELECT count(*) FROM t_rejects", "1");
    fixture_batch_fini(&batch);
    load_one(2, 1000, "the connection is of use");
}

Test(dest_faults, error_after_fence)
{
    error_at("dest.after_fence", DEST_LOADED);
}

Test(dest_faults, error_after_ledger)
{
    error_at("dest.after_ledger", DEST_LOADED);
}

Test(dest_faults, error_after_rows)
{
    error_at("dest.after_rows", DEST_LOADED);
}

Test(dest_faults, error_before_commit)
{
    error_at("dest.before_commit", DEST_LOADED);
}

Test(dest_faults, error_after_commit)
{
    error_at("dest.after_commit", DEST_ALREADY);
}

/* ---- others in the middle of it */

/* A process that loads the batch and is at that place of its transaction for a second. */
static pid_t
fork_at(struct fixture_batch *batch, const char *point)
{
    char marker[120];
    char points[200];
    snprintf(marker, sizeof marker, "%s/inside", f.dir);
    snprintf(points, sizeof points, "%s@1=delay:1000:%s", point, marker);
    pid_t pid = fork_load(batch, points);
    int64_t until_ms = ps_clock_mono_ms() + CONTRACT_WAIT_MS;
    while (access(marker, F_OK) != 0) {
        cr_assert_lt(ps_clock_mono_ms(), until_ms, "%s was not reached", point);
        usleep(2000);
    }
    return pid;
}

static pid_t
fork_inside(struct fixture_batch *batch, const char *point, int64_t rows)
{
    fixture_batch_init(&f, batch, 2, 1);
    fill(batch, rows);
    return fork_at(batch, point);
}

/* A process stands still in its transaction; the batch's next life ends that session. */
Test(dest_faults, a_stopped_twin_is_ended)
{
    begin_two(SERVED, "");
    struct fixture_batch batch;
    pid_t pid = fork_inside(&batch, "dest.after_rows", 500);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    load_again_is(&batch, DEST_LOADED);
    rows_are(rows_sql, "500,500");
    cr_assert_eq(kill(pid, SIGCONT), 0);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == PS_AGAIN, "status %x", status);
    rows_are(rows_sql, "500,500");
    load_is(&f, &batch, DEST_ALREADY);
    fixture_batch_fini(&batch);
}

/* The same, settled by a tombstone instead. */
Test(dest_faults, a_stopped_twin_is_ended_by_a_tombstone)
{
    begin_two(SERVED, "");
    struct fixture_batch batch;
    pid_t pid = fork_inside(&batch, "dest.after_rows", 500);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    struct ps_error err = {0};
    enum ps_status status = PS_AGAIN;
    for (int i = 0; i < 20 && status == PS_AGAIN; i++) {
        status = f.ops->tombstone(f.dest, &batch.batch, "test", &batch.result, &err);
    }
    cr_assert_eq(status, PS_OK, "%s", err.text);
    cr_assert_eq(batch.result.outcome, DEST_CANCELLED);
    cr_assert_eq(kill(pid, SIGCONT), 0);
    int ended = 0;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    load_is(&f, &batch, DEST_CANCELLED);
    rows_are("SELECT count(*) FROM t", "0");
    fixture_batch_fini(&batch);
}

/* Two batches whose ranges overlap without a common key, each in its transaction before the other
 * commits: cuts of two histories of one object. One of them is loaded. */
Test(dest_faults, ranges_that_overlap_in_two_open_transactions)
{
    begin_two(KEEPS, "");
    struct fixture_batch inside;
    struct fixture_batch late;
    fixture_batch_init(&f, &inside, 2, 1);
    fixture_batch_init(&f, &late, 2, 1);
    inside.ranges[0].from = 100;
    inside.ranges[0].end = 300;
    late.ranges[0].from = 200;
    late.ranges[0].end = 400;
    fill(&inside, 500);
    fill(&late, 300);
    pid_t pid = fork_at(&inside, "dest.after_rows");
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &late, &err), PS_OK, "%s", err.text);
    int ended = 0;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    cr_assert(WIFEXITED(ended) && WEXITSTATUS(ended) == PS_OK, "status %x", ended);
    bool is_late = late.result.outcome == DEST_LOADED;
    load_again_is(&inside, is_late ? DEST_RANGE_CONFLICT : DEST_ALREADY);
    load_again_is(&late, is_late ? DEST_ALREADY : DEST_RANGE_CONFLICT);
    rows_are(rows_sql, is_late ? "300,300" : "500,500");
    rows_are("SELECT count(*) FROM _penstock_ledger", "1");
    fixture_batch_fini(&inside);
    fixture_batch_fini(&late);
}

/* A raise of the fence waits for those inside, and nothing is committed behind it. */
Test(dest_faults, no_row_behind_a_raised_fence)
{
    begin_two(KEEPS, "");
    struct fixture_batch batch;
    struct fixture_batch late;
    pid_t pid = fork_inside(&batch, "dest.before_commit", 500);
    fixture_batch_init(&f, &late, 2, 2);
    fill(&late, 300);
    struct dest_state state;
    struct ps_error err = {0};
    enum ps_status status = PS_AGAIN;
    for (int i = 0; i < 60 && status == PS_AGAIN; i++) {
        status = fixture_try_prepare(&f, f.uuid, 2, &state, &err);
    }
    cr_assert_eq(status, PS_OK, "%s", err.text);
    char before[100];
    snprintf(before, sizeof before, "%s", fixture_text(&f, rows_sql));
    load_again_is(&late, DEST_FENCE_MISMATCH);
    int ended = 0;
    cr_assert_eq(waitpid(pid, &ended, 0), pid);
    rows_are(rows_sql, before);
    cr_assert_str_eq(before, WIFEXITED(ended) && WEXITSTATUS(ended) == PS_OK ? "500,500" : "0,0");
    fixture_batch_fini(&batch);
    fixture_batch_fini(&late);
}
#endif

Test(dest_faults, a_canceled_load_leaves_nothing)
{
    begin_two(ANY, "");
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fill(&batch, CRASH_ROWS);
    atomic_store(&f.cancel, true);
    struct ps_error err = {0};
    enum ps_status status = fixture_load(&f, &batch, &err);
    atomic_store(&f.cancel, false);
    /* Whatever was not worth stopping has ended. */
    cr_assert(status == PS_CANCELED || status == PS_OK, "%s", err.text);
    if (f.side->keeps && status == PS_CANCELED) {
        rows_are("SELECT count(*) FROM t", "0");
        rows_are("SELECT count(*) FROM _penstock_ledger", "0");
    }
    load_again_is(&batch, status == PS_OK && f.side->keeps ? DEST_ALREADY : DEST_LOADED);
    rows_are("SELECT count(*) FROM t", "20000");
    fixture_batch_fini(&batch);
}

/* The first blocks are on their way to the destination by then. */
Test(dest_faults, a_segment_that_breaks_off_in_the_middle_leaves_nothing)
{
    begin_two(ANY, "");
    struct fixture_batch batch;
    struct fixture_batch again;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_batch_init_twin(&f, &again, &batch);
    fill(&batch, CRASH_ROWS);
    fill(&again, CRASH_ROWS);
    fixture_batch_seal(&batch);
    struct ps_error err = {0};
    cr_assert_eq(stage_batch_store(batch.rows, &err), PS_OK, "%s", err.text);
    uint64_t bytes = stage_batch_bytes(batch.rows);
    cr_assert_geq(bytes, 4 * BLOCK_TARGET_BYTES, "some blocks are whole");
    char id[PS_ID_TEXT_BYTES];
    char path[160];
    snprintf(path, sizeof path, "%s/stage/%s.1.seg", f.dir, ps_id_text(batch.batch.id.id, id));
    cr_assert_eq(truncate(path, (off_t)(bytes / 8 * 7)), 0);
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_BADDATA, "%s", err.text);
    cr_assert_str_eq(err.code, "stage_corrupt");
    rows_are("SELECT count(*) FROM t", "0");
    rows_are("SELECT count(*) FROM t_rejects", "0");
    rows_are("SELECT count(*) FROM _penstock_ledger", "0");
    load_is(&f, &again, DEST_LOADED);
    rows_are("SELECT count(*), count(DISTINCT id) FROM t", "20000,20000");
    rows_are("SELECT count(*) FROM t_rejects", "1");
    fixture_batch_fini(&batch);
    fixture_batch_fini(&again);
}

Test(dest_faults, sessions_that_the_server_ends)
{
    begin_two(SERVED, "");
    load_one(1, 1, "one");
    f.side->cut(&f);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 2);
    fill(&batch, 500);
    load_again_is(&batch, DEST_LOADED);
    f.side->cut(&f);
    load_again_is(&batch, DEST_ALREADY);
    rows_are("SELECT count(*) FROM t", "501");
    f.side->cut(&f);
    struct dest_state state;
    struct ps_error err = {0};
    enum ps_status status = PS_AGAIN;
    for (int i = 0; i < 5 && status == PS_AGAIN; i++) {
        status = f.ops->state(f.dest, "p", &state, &err);
    }
    cr_assert_eq(status, PS_OK, "%s", err.text);
    cr_assert_eq(state.batches, 2);
    fixture_batch_fini(&batch);
}

/* ---- two that wait for each other */

enum { KEYS = 400, DEADLOCK_ROUNDS = 10 };

struct rival {
    pthread_t thread;
    struct dest *dest;
    struct fixture_batch batch;
    enum ps_status status;
    struct ps_error err;
};

static void *
load_until_done(void *ctx)
{
    struct rival *rival = ctx;
    rival->status = PS_AGAIN;
    for (int i = 0; i < 60 && rival->status == PS_AGAIN; i++) {
        rival->status = fixture_load_by(&f, rival->dest, &rival->batch, &rival->err);
    }
    return NULL;
}

Test(dest_faults, updates_of_the_same_rows_in_opposite_orders)
{
    begin_two(KEEPS, "  key: [id]\n  on_conflict: update\n  last_commit_wins: true\n");
    struct rival rivals[2] = {0};
    rivals[0].dest = fixture_open_twin(&f);
    rivals[1].dest = fixture_open_twin(&f);
    for (unsigned round = 0; round < DEADLOCK_ROUNDS; round++) {
        if (round % 2 == 0) {
            fixture_sql(&f, "DELETE FROM t"); /* both insert what the other one has to update */
        }
        for (unsigned r = 0; r < 2; r++) {
            fixture_batch_init(&f, &rivals[r].batch, 2, round * 2 + r);
            for (int64_t i = 0; i < KEYS; i++) {
                fixture_row(&rivals[r].batch, "is", r == 0 ? i : KEYS - 1 - i, r == 0 ? "a" : "b");
            }
            fixture_batch_seal(&rivals[r].batch);
        }
        for (unsigned r = 0; r < 2; r++) {
            cr_assert_eq(pthread_create(&rivals[r].thread, NULL, load_until_done, &rivals[r]), 0);
        }
        for (unsigned r = 0; r < 2; r++) {
            pthread_join(rivals[r].thread, NULL);
            cr_assert_eq(rivals[r].status, PS_OK, "%s", rivals[r].err.text);
            cr_assert_eq(rivals[r].batch.result.outcome, DEST_LOADED);
            const struct dest_counts *counts = &rivals[r].batch.result.counts;
            cr_assert_eq(counts->inserted + counts->updated, KEYS);
            fixture_batch_fini(&rivals[r].batch);
        }
        /* One of the two was last, for all rows. */
        rows_are("SELECT count(*), count(DISTINCT name) FROM t", "400,1");
    }
    f.ops->close(rivals[0].dest);
    f.ops->close(rivals[1].dest);
    rows_are("SELECT sum(inserted), count(*) FROM _penstock_ledger", "2000,20");
}
