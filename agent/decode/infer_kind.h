/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/infer_kind.h: the narrowest type that holds every value seen so far (infer.h has the
 * rules). Pure. */
#ifndef AGENT_DECODE_INFER_KIND_H
#define AGENT_DECODE_INFER_KIND_H

#include "agent/decode/decode.h"
#include "agent/decode/number.h"

struct infer_kind {
    uint64_t values; /* not NULL */
    bool not_int;
    bool not_real;
};

/* One value that is not NULL. */
static inline void
infer_kind_add(struct infer_kind *kind, const struct field *field, bool decimal_comma)
{
    int64_t number = 0;
    bool plain = field->kind == FIELD_PLAIN;
    kind->values++;
    kind->not_int = kind->not_int || !plain || !number_int(field->ptr, field->len, &number);
    kind->not_real =
        kind->not_real || !plain || !number_real_exact(field->ptr, field->len, decimal_comma);
}

static inline enum column_type
infer_kind_type(const struct infer_kind *kind)
{
    bool any = kind->values > 0;
    return any && !kind->not_int ? COL_BIGINT : any && !kind->not_real ? COL_DOUBLE : COL_TEXT;
}

#endif
