/* SPDX-License-Identifier: Apache-2.0 */
/* agent/dest/dst_postgres_plan.h: the user's table as the server describes it, for those of the
 * PostgreSQL driver's files that make a load's plan of it. */
#ifndef AGENT_DEST_DST_POSTGRES_PLAN_H
#define AGENT_DEST_DST_POSTGRES_PLAN_H

#include "agent/dest/dst_postgres.h"

/* One column of the user's table as the server describes it. */
struct table_column {
    char *name;
    char *type_name;
    Oid type;
    int32_t typmod;
    bool not_null;
    bool has_default;
    bool generated;
    bool always_identity;
};

struct table_shape {
    struct table_column *columns;
    size_t count;
    bool partitioned;
};

/* $1: the table. Triggers that may change a row before the table's CHECKs see it. */
#define BEFORE_TRIGGERS                                                                            \
    " pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND (tgtype & 7) = 7"

/* The plan's columns, quoted, with commas between. */
void dst_postgres_append_names(const struct dst_postgres *d, struct ps_buf *sql);
/* The staging table of a load that meets rows by key, and the statements from there on. */
PS_MUSTCHECK enum ps_status dst_postgres_make_stage(struct dst_postgres *d,
                                                    const struct table_shape *shape,
                                                    struct ps_error *err);

#endif
