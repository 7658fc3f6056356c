/* SPDX-License-Identifier: Apache-2.0 */
/* What SQLite does when others hold the file, and when there is no room. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/dest_contract.h"

static void
set_up(void)
{
    dest_fixture_init(&f);
}

TestSuite(dst_sqlite_faults, .init = set_up, .fini = contract_end);

Test(dst_sqlite_faults, waits_for_another_writer_and_can_be_canceled)
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

Test(dst_sqlite_faults, a_reader_does_not_make_the_load_fail)
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

Test(dst_sqlite_faults, full_disk_is_said_so)
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
