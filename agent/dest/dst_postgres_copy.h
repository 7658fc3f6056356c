/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_postgres_copy.h: one COPY … FROM STDIN, and what the server says of its rows.
 * In: bytes as COPY wants them.  Out: rows, or why the server refused one of them.
 * Invariant: bytes are put while those before are still being sent, and no more than one put is
 *            waiting: the caller encodes the next block meanwhile.
 * Threads: as struct dest. */
#ifndef AGENT_DEST_DST_POSTGRES_COPY_H
#define AGENT_DEST_DST_POSTGRES_COPY_H

#include "agent/dest/dst_postgres.h"

/* Why the server refused a row; text is empty when it did not. */
struct dst_postgres_refusal {
    char text[400];
    char column[64];
    bool of_null; /* a NULL in a column that takes none */
    uint64_t row; /* which one of this COPY, from 1; 0 = the server does not say */
};

/* The table said no to a row, and will again; anything else is about the server. */
bool dst_postgres_copy_is_row_error(const char *state);
/* Of a failed result: PS_OK with *out where a row was refused, else the failure. */
PS_MUSTCHECK enum ps_status dst_postgres_copy_refusal(struct dst_postgres *d,
                                                      const PGresult *result, const char *what,
                                                      struct dst_postgres_refusal *out,
                                                      struct ps_error *err);

/* sql may have statements before the COPY. */
PS_MUSTCHECK enum ps_status dst_postgres_copy_begin(struct dst_postgres *d, const char *sql,
                                                    bool binary, struct ps_error *err);
PS_MUSTCHECK enum ps_status dst_postgres_copy_put(struct dst_postgres *d, const void *bytes,
                                                  size_t len, struct ps_error *err);
/* refusal->text stays empty unless the server refused a row; then *out_rows is what went in, less
 * than was put where a trigger took rows away. */
PS_MUSTCHECK enum ps_status dst_postgres_copy_end(struct dst_postgres *d, bool binary,
                                                  uint64_t *out_rows,
                                                  struct dst_postgres_refusal *refusal,
                                                  struct ps_error *err);

#endif
