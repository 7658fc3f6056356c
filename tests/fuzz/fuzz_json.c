/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as NDJSON or documents: walkers, windows, resume points and jumps must not show in what
 * comes out. The first four bytes choose the spec and the windows. */
#include <stdlib.h>

#include "tests/support/decode_log.h"
#include "tests/support/json_samples.h"

enum { HEAD = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
same(const struct decode_log_run *run, struct ps_span bytes, struct ps_buf *wanted)
{
    struct ps_buf found = PS_BUF_INIT;
    decode_log(run, bytes.ptr, bytes.len, &found);
    if (found.len != wanted->len ||
        (found.len > 0 && memcmp(found.ptr, wanted->ptr, found.len) != 0)) {
        fprintf(stderr, "found:\n%s\nwanted:\n%s\n", ps_buf_str(&found), ps_buf_str(wanted));
        abort();
    }
    ps_buf_fini(&found);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct spec *specs[JSON_SAMPLE_SPECS];
    if (size < HEAD) {
        return 0;
    }
    size_t which = data[0] % JSON_SAMPLE_SPECS;
    if (specs[which] == NULL) {
        specs[which] = json_sample_spec(json_sample_specs[which]);
    }
    struct ps_span bytes = ps_span(data + HEAD, size - HEAD);
    struct decode_log_run run = {.spec = specs[which], .walker = json_walk_any};
    struct ps_buf wanted = PS_BUF_INIT;
    decode_log(&run, bytes.ptr, bytes.len, &wanted);
    run.walker = NULL;
    same(&run, bytes, &wanted);
    run.first = (size_t)data[1] + 1;
    run.step = (size_t)data[2] + 1;
    same(&run, bytes, &wanted);
    run.stop_step = (uint64_t)data[3] + 1;
    same(&run, bytes, &wanted);
    if (spec_is(run.spec, "format.type", "ndjson") && bytes.len > 0) {
        ps_buf_clear(&wanted);
        run.stop_step = 0;
        run.jump = UINT64_MAX;
        decode_log(&run, bytes.ptr, bytes.len, &wanted);
        run.jump = data[3] % bytes.len + 1;
        same(&run, bytes, &wanted);
    }
    json_sample_infer(json_sample_specs[which], bytes, data[3] % 2 == 0);
    ps_buf_fini(&wanted);
    return 0;
}
