/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/dest/dest.h"

#include "common/alloc.h"
#include "common/assert.h"
#include "common/failpoint.h"

#define DEST(ops) extern const struct dest_ops ops;
#include "agent/dest/dests.def"
#undef DEST

#define DEST(ops) &ops,
static const struct dest_ops *const drivers[] = {
#include "agent/dest/dests.def"
    NULL};
#undef DEST

const struct dest_ops *const *
dest_all(void)
{
    return drivers;
}

const struct dest_ops *
dest_find(const char *url, struct ps_error *err)
{
    char scheme[32];
    const char *wanted = spec_scheme(url, scheme);
    for (size_t i = 0; drivers[i] != NULL; i++) {
        const struct dest_ops *ops = drivers[i];
        PS_ASSERT(ops->open != NULL && ops->close != NULL && ops->prepare != NULL &&
                  ops->state != NULL && ops->load != NULL && ops->tombstone != NULL &&
                  ops->ledger != NULL && ops->rejects != NULL && ops->ranges != NULL);
        if (strcmp(ops->scheme, wanted) == 0) {
            return ops;
        }
    }
    (void)ps_fail_code(err, PS_REFUSED, "unknown_destination",
                       "destination %s: this build has no driver for \"%s:\"", url, wanted);
    return NULL;
}

void
dest_result_fini(struct dest_result *result)
{
    for (size_t i = 0; i < result->range_count; i++) {
        ps_free((void *)(uintptr_t)result->ranges[i].key.ptr);
        ps_free((void *)(uintptr_t)result->ranges[i].version.ptr);
        ps_free((void *)(uintptr_t)result->ranges[i].resume.ptr);
    }
    ps_free(result->ranges);
    *result = (struct dest_result){0};
}

enum ps_status
dest_reach(enum dest_point point, struct ps_error *err)
{
    bool fails = false;
    switch (point) {
    case DEST_AFTER_FENCE:
        fails = PS_FAILPOINT("dest.after_fence");
        break;
    case DEST_AFTER_LEDGER:
        fails = PS_FAILPOINT("dest.after_ledger");
        break;
    case DEST_AFTER_ROWS:
        fails = PS_FAILPOINT("dest.after_rows");
        break;
    case DEST_BEFORE_COMMIT:
        fails = PS_FAILPOINT("dest.before_commit");
        break;
    case DEST_AFTER_COMMIT:
        fails = PS_FAILPOINT("dest.after_commit");
        break;
    }
    return fails ? ps_fail(err, PS_AGAIN, "failpoint of the destination") : PS_OK;
}
