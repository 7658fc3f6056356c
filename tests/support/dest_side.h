/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/dest_side.h: what a test does at a destination behind its driver's back, by the
 * database's own library. SQL that the contract suite gives is ANSI: "names", 'texts', ||. */
#ifndef TESTS_SUPPORT_DEST_SIDE_H
#define TESTS_SUPPORT_DEST_SIDE_H

#include "common/buf.h"

struct dest_fixture;

struct dest_side {
    const char *scheme;
    bool keeps;  /* what it was given can be read again */
    bool served; /* by a server: sessions, which can be ended by others */
    /* An empty place of this fixture's own, which f->url names. NULL, or why there is none. */
    const char *(*begin)(struct dest_fixture *f);
    void (*end)(struct dest_fixture *f);
    /* Statements on a connection of their own; the last one's cells are appended, joined by ','
     * and rows by '|', NULL as "NULL". An error ends the test. */
    void (*sql)(struct dest_fixture *f, const char *sql, struct ps_buf *out);
    /* Ends all other sessions at this place; NULL where there are none. */
    void (*cut)(struct dest_fixture *f);
};

/* NULL: this build has no driver for it. */
const struct dest_side *dest_side_find(const char *scheme);
/* Names the fixture's place on the server that tests/support/servers.py says there is: f->server
 * and f->url. NULL, or why there is none. */
const char *dest_side_at_server(struct dest_fixture *f, const char *scheme);
/* Cells and rows as .sql gives them. */
void dest_side_cell(struct ps_buf *out, size_t row, size_t column, const char *text, size_t len);

extern const struct dest_side dest_side_sqlite;
extern const struct dest_side dest_side_null;
#ifdef PS_DEST_POSTGRES
extern const struct dest_side dest_side_postgres;
#endif
#ifdef PS_DEST_MYSQL
extern const struct dest_side dest_side_mysql;
#endif

#endif
