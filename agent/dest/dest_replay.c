/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dest_replay.h"

#include <inttypes.h>

#include "common/percent.h"
#include "common/utf8.h"

static const char *const state_names[] = {
    [REJECT_ANY] = "any",   [REJECT_OPEN] = "open",           [REJECT_REPLAYED] = "replayed",
    [REJECT_VOID] = "void", [REJECT_DISCARDED] = "discarded",
};

const char *
dest_reject_state_name(enum dest_reject_state state)
{
    return state_names[state];
}

bool
dest_reject_state_parse(const char *text, enum dest_reject_state *out)
{
    for (size_t i = 0; i < sizeof state_names / sizeof state_names[0]; i++) {
        if (strcmp(text, state_names[i]) == 0) {
            *out = (enum dest_reject_state)i;
            return true;
        }
    }
    return false;
}

void
dest_not_open_add(struct dest_not_open *not_open, uint64_t n)
{
    if (not_open->count < DEST_NOT_OPEN_NAMED) {
        not_open->numbers[not_open->count] = n;
    }
    not_open->count++;
}

void
dest_not_open_list(const struct dest_not_open *not_open, struct ps_buf *out)
{
    for (size_t i = 0; i < not_open->count && i < DEST_NOT_OPEN_NAMED; i++) {
        ps_buf_xprintf(out, "%s%" PRIu64, i == 0 ? "" : ", ", not_open->numbers[i]);
    }
    ps_buf_xprintf(out, "%s", not_open->count > DEST_NOT_OPEN_NAMED ? ", …" : "");
}

enum ps_status
dest_not_open_fail(const struct dest_not_open *not_open, const char *table, struct ps_error *err)
{
    struct ps_buf list = PS_BUF_INIT;
    dest_not_open_list(not_open, &list);
    enum ps_status status =
        ps_fail_code(err, PS_REFUSED, "reject_not_open",
                     "%s: %s: not open any more (replayed by somebody else, or not of what is "
                     "loaded now); nothing was loaded",
                     table, ps_buf_str(&list));
    ps_buf_fini(&list);
    return status;
}

void
dest_numbers_sql(const struct dest_reject_filter *filter, const char *column, struct ps_buf *sql)
{
    for (size_t i = 0; filter != NULL && i < filter->number_count; i++) {
        ps_buf_xprintf(sql, "%s%s BETWEEN %" PRId64 " AND %" PRId64, i == 0 ? " AND (" : " OR ",
                       column, (int64_t)filter->numbers[i].first, (int64_t)filter->numbers[i].last);
    }
    if (filter != NULL && filter->number_count > 0) {
        ps_buf_xprintf(sql, ")");
    }
}

bool
dest_late_code(struct ps_span code)
{
    static const char *const codes[] = {"constraint", "affinity", "type"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (ps_span_eq(code, ps_span_str(codes[i]))) {
            return true;
        }
    }
    return false;
}

void
dest_text_safe(struct ps_span text, struct ps_buf *out)
{
    if (ps_utf8_valid(text) && (text.len == 0 || memchr(text.ptr, 0, text.len) == NULL)) {
        ps_buf_xappend(out, text.ptr, text.len);
    } else {
        ps_percent_name(text, out);
    }
}
