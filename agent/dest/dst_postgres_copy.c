/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dst_postgres_copy.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static const char copy_header[] =
    "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"; /* signature, flags, extension */
enum { COPY_HEADER_BYTES = 19 };
_Static_assert(sizeof copy_header == COPY_HEADER_BYTES + 1, "the header of COPY's binary format");
static const char copy_trailer[2] = {(char)0xFF, (char)0xFF};

bool
dst_postgres_copy_is_row_error(const char *state)
{
    /* 21: keys of two rows are one to the server alone (an index's collation, a trigger); merged
     * one after the other they are an update. */
    static const char *const classes[] = {"21", "22", "23", "P0", "54", "44"};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strncmp(state, classes[i], 2) == 0) {
            return true;
        }
    }
    return false;
}

/* The row's number in "COPY table, line 12, column c: …", in whatever language: the first number
 * behind the name. 0: this line says none. */
static uint64_t
row_in(const char *line, const char *table)
{
    char begin[80];
    snprintf(begin, sizeof begin, "COPY %.63s, ", table);
    if (strncmp(line, begin, strlen(begin)) != 0) {
        return 0;
    }
    for (line += strlen(begin); *line != '\0' && *line != '\n'; line++) {
        if (isdigit((unsigned char)*line)) {
            return strtoull(line, NULL, 10);
        }
    }
    return 0;
}

/* What is checked when all rows are in has no such line. */
static uint64_t
row_of(const struct dst_postgres *d, const char *context)
{
    const char *table = d->merge_sql == NULL ? d->table : "_penstock_stage";
    uint64_t row = 0;
    for (const char *at = context; at != NULL && row == 0; at = strchr(at, '\n')) {
        at += *at == '\n';
        row = row_in(at, table);
    }
    return row;
}

enum ps_status
dst_postgres_copy_refusal(struct dst_postgres *d, const PGresult *result, const char *what,
                          struct dst_postgres_refusal *out, struct ps_error *err)
{
    char state[6];
    dst_postgres_state_of(result, state);
    if (!dst_postgres_copy_is_row_error(state)) {
        return dst_postgres_fail(d, result, what, err);
    }
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
    snprintf(out->text, sizeof out->text, "%s%s%s%s", text == NULL ? "refused" : text,
             detail == NULL ? "" : " (", detail == NULL ? "" : detail, detail == NULL ? "" : ")");
    snprintf(out->column, sizeof out->column, "%s", column == NULL ? "" : column);
    out->of_null = strcmp(state, "23502") == 0;
    out->row = row_of(d, PQresultErrorField(result, PG_DIAG_CONTEXT));
    return PS_OK;
}

enum ps_status
dst_postgres_copy_put(struct dst_postgres *d, const void *bytes, size_t len, struct ps_error *err)
{
    enum ps_status status = dst_postgres_flush(d, err);
    if (status == PS_OK && PQputCopyData(d->conn, bytes, (int)len) != 1) {
        status = dst_postgres_fail(d, NULL, "copy", err);
    }
    /* Not waited for: the next block is encoded while this one is sent. */
    return status == PS_OK && PQflush(d->conn) < 0 ? dst_postgres_fail(d, NULL, "copy", err)
                                                   : status;
}

enum ps_status
dst_postgres_copy_begin(struct dst_postgres *d, const char *sql, bool binary, struct ps_error *err)
{
    PGresult *result = NULL;
    if (PQsendQuery(d->conn, sql) == 0) {
        return dst_postgres_fail(d, NULL, "copy", err);
    }
    enum ps_status status = dst_postgres_answer(d, &result, err);
    if (status == PS_OK && PQresultStatus(result) != PGRES_COPY_IN) {
        status = dst_postgres_fail(d, result, "copy", err);
    }
    PQclear(result);
    return status == PS_OK && binary ? dst_postgres_copy_put(d, copy_header, COPY_HEADER_BYTES, err)
                                     : status;
}

enum ps_status
dst_postgres_copy_end(struct dst_postgres *d, bool binary, uint64_t *out_rows,
                      struct dst_postgres_refusal *refusal, struct ps_error *err)
{
    enum ps_status status = binary
                                ? dst_postgres_copy_put(d, copy_trailer, sizeof copy_trailer, err)
                                : dst_postgres_flush(d, err);
    if (status == PS_OK && PQputCopyEnd(d->conn, NULL) != 1) {
        status = dst_postgres_fail(d, NULL, "copy", err);
    }
    PGresult *result = NULL;
    *out_rows = 0;
    if (status == PS_OK) {
        status = dst_postgres_answer(d, &result, err);
    }
    if (status == PS_OK && PQresultStatus(result) == PGRES_COMMAND_OK) {
        *out_rows = strtoull(PQcmdTuples(result), NULL, 10);
    } else if (status == PS_OK) {
        status = dst_postgres_copy_refusal(d, result, "copy", refusal, err);
    }
    PQclear(result);
    return status;
}
