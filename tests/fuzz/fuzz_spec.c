/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_spec.c: any bytes as a pipeline's document. What is accepted must print, read
 * back and be the same; the first line, where it begins with "#set ", is one --set. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "spec/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_accepted(const struct spec *spec)
{
    struct ps_error err;
    struct spec *again = NULL;
    enum ps_status status = spec_from_canonical(ps_span_str(spec_canonical(spec)), &again, &err);
    PS_ASSERT(status == PS_OK);
    PS_ASSERT(strcmp(spec_canonical(spec), spec_canonical(again)) == 0);
    spec_unref(again);

    struct ps_buf text = PS_BUF_INIT;
    struct spec_errors errors = {0};
    spec_print_yaml(spec, false, &text);
    status = spec_parse(ps_buf_span(&text), NULL, 0, &again, &errors, &err);
    PS_ASSERT(status == PS_OK);
    PS_ASSERT(strcmp(spec_canonical(spec), spec_canonical(again)) == 0);
    const char *path = NULL;
    PS_ASSERT(!spec_raises_generation(spec, again, &path));
    spec_unref(again);
    ps_buf_clear(&text);
    spec_print_yaml(spec, true, &text);
    ps_buf_fini(&text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err;
    char *set = NULL;
    struct ps_span text = ps_span(data, size);
    if (size > 5 && memcmp(data, "#set ", 5) == 0) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end == NULL ? size : (size_t)(end - data);
        set = ps_xstrndup((const char *)data + 5, len - 5);
        text = ps_span(data + len, size - len);
    }
    const char *const sets[] = {set};
    if (spec_parse(text, sets, set == NULL ? 0 : 1, &spec, &errors, &err) == PS_OK) {
        check_accepted(spec);
    } else {
        PS_ASSERT(errors.count > 0);
    }
    spec_errors_fini(&errors);
    spec_unref(spec);
    ps_free(set);
    return 0;
}
