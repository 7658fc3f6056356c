/* SPDX-License-Identifier: Apache-2.0 */
/* What a destination does when it is killed, kept waiting or out of room. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/dest_fixture.h"

static struct dest_fixture f;

static void
set_up(void)
{
    dest_fixture_init(&f);
}

static void
tear_down(void)
{
    dest_fixture_fini(&f);
}

TestSuite(dest_faults, .init = set_up, .fini = tear_down);

static const struct spec_column two[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
};

static void
load_is(struct dest_fixture *fixture, struct fixture_batch *batch, enum dest_outcome outcome)
{
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(fixture, batch, &err), PS_OK, "%s", err.text);
    cr_assert_eq(batch->result.outcome, outcome, "outcome %d: %s", batch->result.outcome, err.text);
}

/* ---- crashes: the failpoints are read from the environment once a process, hence the child */

static void
crash_at(const char *point, const char *rows_after)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 50000; i++) {
        fixture_row(&batch, "is", i, "some text that is long enough to fill pages");
    }
    fixture_close(&f);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char text[80];
        snprintf(text, sizeof text, "%s=crash", point);
        setenv("PENSTOCK_FAILPOINTS", text, 1);
        fixture_reopen(&f, "");
        struct ps_error err = {0};
        (void)fixture_load(&f, &batch, &err);
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not reached", point);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), rows_after);
    cr_assert_str_eq(fixture_text(&f, "PRAGMA integrity_check"), "ok");
    fixture_reopen(&f, "");
    load_is(&f, &batch, rows_after[0] == '0' ? DEST_LOADED : DEST_ALREADY);
    cr_assert_eq(batch.result.counts.inserted, 50000);
    cr_assert_str_eq(fixture_text(&f, "SELECT count(*) FROM t"), "50000");
    fixture_batch_fini(&batch);
}

#ifdef PS_FAILPOINTS
Test(dest_faults, sqlite_crash_after_fence)
{
    crash_at("dest.after_fence", "0");
}

Test(dest_faults, sqlite_crash_after_ledger)
{
    crash_at("dest.after_ledger", "0");
}

Test(dest_faults, sqlite_crash_after_rows)
{
    crash_at("dest.after_rows", "0");
}

Test(dest_faults, sqlite_crash_before_commit)
{
    crash_at("dest.before_commit", "0");
}

Test(dest_faults, sqlite_crash_after_commit)
{
    crash_at("dest.after_commit", "50000");
}
#endif

Test(dest_faults, sqlite_waits_for_another_writer_and_can_be_canceled)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    sqlite3 *other = NULL;
    cr_assert_eq(sqlite3_open(f.path, &other), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    fixture_row(&batch, "is", (int64_t)1, "x");
    atomic_store(&f.cancel, true);
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_CANCELED, "%s", err.text);
    atomic_store(&f.cancel, false);
    cr_assert_eq(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
    cr_assert_eq(f.turns, 0, "every turn is given back");
}

Test(dest_faults, sqlite_a_reader_does_not_make_the_load_fail)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    sqlite3 *reader = NULL;
    sqlite3_stmt *stmt = NULL;
    cr_assert_eq(sqlite3_open(f.path, &reader), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(reader, "SELECT name FROM sqlite_schema", -1, &stmt, NULL),
                 SQLITE_OK);
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW); /* holds a shared lock */
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 200000; i++) {
        fixture_row(&batch, "is", i, "some text that is long enough to fill pages");
    }
    fixture_batch_seal(&batch);
    struct ps_error err = {0};
    alarm(60);
    f.cancel_at_commit = true; /* it cannot commit before the reader ends: ask it to stop there */
    cr_assert_eq(fixture_load(&f, &batch, &err), PS_CANCELED, "%s", err.text);
    f.cancel_at_commit = false;
    atomic_store(&f.cancel, false);
    sqlite3_finalize(stmt);
    sqlite3_close(reader);
    load_is(&f, &batch, DEST_LOADED);
    cr_assert_eq(batch.result.counts.inserted, 200000);
    fixture_batch_fini(&batch);
}

Test(dest_faults, sqlite_full_disk_is_said_so)
{
    fixture_open(&f, "");
    fixture_prepare(&f, two, 2);
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, 1);
    for (int64_t i = 0; i < 200000; i++) {
        fixture_row(&batch, "is", i, "some text that is long enough to fill pages");
    }
    fixture_batch_seal(&batch);
    fixture_limit_file_size(1 << 20);
    struct ps_error err = {0};
    enum ps_status status = fixture_load(&f, &batch, &err);
    fixture_limit_file_size(0);
    cr_assert(status == PS_FULL || status == PS_AGAIN, "%s: %s", ps_status_name(status), err.text);
    cr_assert_not_null(strstr(err.text, f.path), "%s", err.text);
    load_is(&f, &batch, DEST_LOADED);
    fixture_batch_fini(&batch);
}
