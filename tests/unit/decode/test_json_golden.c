/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden/ndjson and json: small inputs and exactly what comes of them. */
#include <criterion/criterion.h>

#include "tests/support/decode_log.h"
#include "tests/support/golden.h"

static void
golden(const char *name, const char *format)
{
    struct spec *spec = NULL;
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    struct ps_buf text = PS_BUF_INIT;
    ps_buf_xprintf(&text, "name: g\nsource: {url: '%s'}\ndestination: {url: 'null:'}\n%s", name,
                   format);
    cr_assert_eq(spec_parse(ps_buf_span(&text), NULL, 0, &spec, &errors, &err), PS_OK, "%s",
                 err.text);
    golden_expect(name, &(struct decode_log_run){.spec = spec});
    spec_errors_fini(&errors);
    spec_unref(spec);
    ps_buf_fini(&text);
}

Test(json_golden, events)
{
    golden("ndjson/events.ndjson",
           "columns: [id, type, {name: name, from: user.name}, {name: tag, from: 'user.tags[0]'},\n"
           "  {name: tags, from: user.tags}, price, {name: dotted, from: '[\"user.name\"]'},\n"
           "  extra]\n");
}

Test(json_golden, orders)
{
    golden("json/orders.json",
           "format: {items: data.orders}\n"
           "columns: [id, {name: sku, from: 'lines[0].sku'}, {name: qty, from: 'lines[1].qty'},\n"
           "  lines, paid, note]\n");
}
