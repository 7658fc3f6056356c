/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/dest_contract.h: what the stories of tests/contract/test_dest_*.c begin with. The
 * environment's PENSTOCK_TEST_DEST says which driver they are told about (CTest runs them over each
 * of dests.def). */
#ifndef TESTS_SUPPORT_DEST_CONTRACT_H
#define TESTS_SUPPORT_DEST_CONTRACT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "tests/support/dest_fixture.h"

enum { CONTRACT_WAIT_MS = 60000 };

enum contract_need {
    ANY,    /* told about every driver */
    KEEPS,  /* about those whose rows can be read again */
    SERVED, /* about those with a server */
};

static struct dest_fixture f;

static const struct spec_column two[] = {
    {.name = "id", .type = COL_BIGINT, .type_given = true},
    {.name = "name", .type = COL_TEXT, .type_given = true},
};

static inline const char *
contract_scheme(void)
{
    const char *scheme = getenv("PENSTOCK_TEST_DEST");
    return scheme == NULL ? "sqlite" : scheme;
}

/* The first line of a story: an empty place. */
static inline void
begin(enum contract_need need)
{
    const char *why = dest_fixture_init_at(&f, contract_scheme());
    if (why != NULL) {
        /* Criterion says nothing of what was skipped; CTest looks for these words. */
        fprintf(stderr, "no server of %s: %s\n", contract_scheme(), why);
        cr_skip_test("no server");
    }
    if ((need == KEEPS && !f.side->keeps) || (need == SERVED && !f.side->served)) {
        cr_skip_test("%s makes no such promise", f.side->scheme);
    }
}

/* begin, open, and table t with the columns of two. */
static inline void
begin_two(enum contract_need need, const char *more)
{
    begin(need);
    fixture_open(&f, more);
    fixture_prepare(&f, two, 2);
}

/* The same with a table that stands already. */
static inline void
begin_table(const char *sql, const char *more)
{
    begin(KEEPS);
    fixture_sql(&f, sql);
    fixture_open(&f, more);
    fixture_prepare(&f, two, 2);
}

static inline void
contract_end(void)
{
    dest_fixture_fini(&f);
}

static inline void
load_is(struct dest_fixture *fixture, struct fixture_batch *batch, enum dest_outcome outcome)
{
    struct ps_error err = {0};
    cr_assert_eq(fixture_load(fixture, batch, &err), PS_OK, "%s", err.text);
    cr_assert_eq(batch->result.outcome, outcome, "outcome %d: %s", batch->result.outcome, err.text);
}

/* The same, again and again as a leaf does where it is told PS_AGAIN. */
static inline enum ps_status
load_again(struct fixture_batch *batch, struct ps_error *err)
{
    enum ps_status status = PS_AGAIN;
    int64_t until_ms = ps_clock_mono_ms() + CONTRACT_WAIT_MS;
    while (status == PS_AGAIN && ps_clock_mono_ms() < until_ms) {
        status = fixture_load(&f, batch, err);
    }
    return status;
}

static inline void
load_again_is(struct fixture_batch *batch, enum dest_outcome outcome)
{
    struct ps_error err = {0};
    cr_assert_eq(load_again(batch, &err), PS_OK, "%s", err.text);
    cr_assert_eq(batch->result.outcome, outcome, "outcome %d: %s", batch->result.outcome, err.text);
}

/* What stands there; nothing is asked of a driver that keeps nothing. */
static inline void
rows_are(const char *sql, const char *expected)
{
    if (f.side->keeps) {
        const char *text = fixture_text(&f, sql);
        cr_assert_str_eq(text, expected, "%s: \"%s\", expected \"%s\"", sql, text, expected);
    }
}

/* A batch of one row (id, name) of object number, loaded. */
static inline void
load_one(unsigned number, int64_t id, const char *name)
{
    struct fixture_batch batch;
    fixture_batch_init(&f, &batch, 2, number);
    fixture_row(&batch, "is", id, name);
    load_again_is(&batch, DEST_LOADED);
    fixture_batch_fini(&batch);
}

#endif
