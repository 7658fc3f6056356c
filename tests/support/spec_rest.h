/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/spec_rest.h: a spec of which only a part matters. */
#ifndef TESTS_SUPPORT_SPEC_REST_H
#define TESTS_SUPPORT_SPEC_REST_H

#include <criterion/criterion.h>

#include "spec/spec.h"

/* Of a pipeline that reads file:x and writes nowhere; more: YAML for the rest of it. */
static inline struct spec *
spec_with(const char *more)
{
    struct ps_buf text = PS_BUF_INIT;
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    ps_buf_xprintf(&text,
                   "name: t\nsource: {url: 'file:x'}\ndestination: {url: 'null:'}\n"
                   "%s",
                   more);
    enum ps_status status = spec_parse(ps_buf_span(&text), NULL, 0, &spec, &errors, &err);
    cr_assert_eq(status, PS_OK, "%s %s", err.text, errors.count > 0 ? errors.items[0].text : "");
    spec_errors_fini(&errors);
    ps_buf_fini(&text);
    return spec;
}

#endif
