/* SPDX-License-Identifier: Apache-2.0 */
/* Which of our types a column's is: the server's own by their numbers, others by what the catalog
 * says of them. */
#include <stdlib.h>

#include "agent/dest/dst_postgres.h"
#include "common/alloc.h"

enum { NEST_MAX = 32 }; /* domains over domains and arrays */

static enum dst_postgres_type
type_of(Oid oid)
{
    /* Object identifiers of pg_type.dat; they never change. */
    static const struct {
        Oid oid;
        enum dst_postgres_type type;
    } types[] = {
        {16, PG_BOOL},        {17, PG_BYTEA},         {19, PG_TEXT},       {20, PG_INT8},
        {21, PG_INT2},        {23, PG_INT4},          {25, PG_TEXT},       {26, PG_OID},
        {114, PG_JSON},       {142, PG_TEXT},         {650, PG_CIDR},      {700, PG_FLOAT4},
        {701, PG_FLOAT8},     {774, PG_MACADDR8},     {829, PG_MACADDR},   {869, PG_INET},
        {1042, PG_TEXT},      {1043, PG_TEXT},        {1082, PG_DATE},     {1083, PG_TIME},
        {1114, PG_TIMESTAMP}, {1184, PG_TIMESTAMPTZ}, {1186, PG_INTERVAL}, {1266, PG_TIMETZ},
        {1700, PG_NUMERIC},   {2950, PG_UUID},        {3802, PG_JSONB},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].oid == oid) {
            return types[i].type;
        }
    }
    return PG_BY_SERVER;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ps_status
read_labels(struct dst_postgres *d, Oid oid, struct dst_postgres_column *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, oid);
    PGresult *result = dst_postgres_query(
        d, "SELECT enumlabel::text FROM pg_enum WHERE enumtypid = $1::int8::oid", &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    out->type = PG_ENUM;
    out->label_count = (size_t)PQntuples(result);
    out->labels = ps_xcalloc(out->label_count + 1, sizeof *out->labels);
    for (size_t i = 0; i < out->label_count; i++) {
        struct ps_span label = pg_value_span(result, (int)i, 0);
        out->labels[i] = ps_xasprintf("%.*s", (int)label.len, (const char *)label.ptr);
    }
    PQclear(result);
    qsort(out->labels, out->label_count, sizeof *out->labels, by_text);
    return PS_OK;
}

/* What the catalog says of one type. */
struct catalog_type {
    char kind;      /* typtype */
    bool not_null;  /* of a domain */
    bool as_text;   /* its binary form is the text itself */
    Oid base;       /* below a domain */
    int32_t typmod; /* that a domain gives it */
    Oid element;    /* 0: it is no array */
};

static enum ps_status
read_type(struct dst_postgres *d, Oid oid, struct catalog_type *out, struct ps_error *err)
{
    struct pg_params params = {0};
    pg_param_int(&params, oid);
    PGresult *result = dst_postgres_query(
        d,
        "SELECT ascii(t.typtype::text)::int8, t.typnotnull::int::int8, t.typbasetype::int8,"
        " t.typtypmod::int8, coalesce(e.oid, 0)::int8, coalesce(p.prosrc = 'textrecv', false)"
        "::int::int8 FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid"
        " LEFT JOIN pg_proc p ON p.oid = t.typreceive WHERE t.oid = $1::int8::oid",
        &params, err);
    if (result == NULL) {
        return dst_postgres_failed(err);
    }
    *out = (struct catalog_type){.kind = 'b'};
    if (PQntuples(result) == 1) {
        *out = (struct catalog_type){.kind = (char)pg_value_int(result, 0, 0),
                                     .not_null = pg_value_int(result, 0, 1) != 0,
                                     .base = (Oid)pg_value_int(result, 0, 2),
                                     .typmod = (int32_t)pg_value_int(result, 0, 3),
                                     .element = (Oid)pg_value_int(result, 0, 4),
                                     .as_text = pg_value_int(result, 0, 5) != 0};
    }
    PQclear(result);
    return PS_OK;
}

static enum ps_status
find(struct dst_postgres *d, Oid oid, int32_t typmod, struct dst_postgres_column *out,
     struct ps_error *err)
{
    enum ps_status status = PS_OK;
    for (unsigned nest = 0; status == PS_OK && nest < NEST_MAX; nest++) {
        struct catalog_type type;
        out->type = type_of(oid);
        out->most_chars = (oid == 1042 || oid == 1043) && typmod > 4 ? typmod - 4 : -1;
        if (out->type != PG_BY_SERVER) {
            return PS_OK;
        }
        status = read_type(d, oid, &type, err);
        if (status != PS_OK) {
            return status;
        }
        if (type.kind == 'e') {
            return read_labels(d, oid, out, err);
        }
        if (type.element != 0) {
            out->type = PG_ARRAY;
            out->element_oid = type.element;
            out->element = ps_xcalloc(1, sizeof *out->element);
            out = out->element;
            oid = type.element;
        } else if (type.kind == 'd') {
            out->not_null = out->not_null || type.not_null;
            oid = type.base;
            typmod = type.typmod;
        } else {
            out->type = type.as_text ? PG_TEXT : PG_BY_SERVER;
            return PS_OK;
        }
    }
    return status;
}

enum ps_status
dst_postgres_type_find(struct dst_postgres *d, Oid oid, int32_t typmod,
                       struct dst_postgres_column *out, struct ps_error *err)
{
    enum ps_status status = find(d, oid, typmod, out, err);
    for (const struct dst_postgres_column *at = out; at != NULL; at = at->element) {
        /* An array is what its innermost elements are; a domain over an array within an array is
         * an array whose own elements the server reads: text then. */
        if (at->type == PG_BY_SERVER || (at != out && at->type == PG_ARRAY)) {
            dst_postgres_type_fini(out);
            out->type = PG_BY_SERVER;
            break;
        }
    }
    return status;
}

void
dst_postgres_type_fini(struct dst_postgres_column *column)
{
    for (size_t i = 0; i < column->label_count; i++) {
        ps_free(column->labels[i]);
    }
    ps_free(column->labels);
    column->labels = NULL;
    column->label_count = 0;
    if (column->element != NULL) {
        dst_postgres_type_fini(column->element);
        ps_free(column->element);
        column->element = NULL;
    }
}
