/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include <stdio.h>

#include "spec/spec.h"

static const char flights[] = "name: flights\n"
                              "source:\n"
                              "  url: file:data/*.csv.gz\n"
                              "  discover: {mode: continuous, interval: 2.5s}\n"
                              "format:\n"
                              "  header: auto\n"
                              "  delimiter: \";\"\n"
                              "  null: [\"\", NA]\n"
                              "columns:\n"
                              "  - id\n"
                              "  - {name: flight, from: \"Flight ID\", type: bigint, default: 0}\n"
                              "  - {name: source_object, value: \"$object\"}\n"
                              "  - {name: host, value: 7, type: bigint, on_mismatch: null}\n"
                              "destination:\n"
                              "  url: sqlite:air.db\n"
                              "  table: flights\n"
                              "errors: {tolerance: 0.1%}\n"
                              "limits: {batch_bytes: 64KiB}\n";

static struct spec *
good(const char *text)
{
    struct spec *spec = NULL;
    struct spec_errors errors;
    struct ps_error err = {0};
    enum ps_status status = spec_parse(ps_span_str(text), NULL, 0, &spec, &errors, &err);
    cr_assert_eq(status, PS_OK, "%s", err.text);
    return spec;
}

static struct spec_errors
bad(const char *text)
{
    struct spec *spec = NULL;
    struct spec_errors errors;
    struct ps_error err = {0};
    cr_assert_eq(spec_parse(ps_span_str(text), NULL, 0, &spec, &errors, &err), PS_BADDATA);
    cr_assert_gt(errors.count, 0);
    return errors;
}

/* The error of a path, or a failure that shows them all. */
static const struct spec_error *
error_of(const struct spec_errors *errors, const char *path)
{
    for (size_t i = 0; i < errors->count; i++) {
        if (strcmp(errors->items[i].path, path) == 0) {
            return &errors->items[i];
        }
    }
    for (size_t i = 0; i < errors->count; i++) {
        cr_log_error("%u %s: %s", errors->items[i].line, errors->items[i].path,
                     errors->items[i].text);
    }
    cr_assert_fail("no error at %s", path);
    return NULL;
}

static void
expect(const struct spec_errors *errors, const char *path, unsigned line, const char *part)
{
    const struct spec_error *error = error_of(errors, path);
    cr_assert_eq(error->line, line, "%s: line %u, expected %u", path, error->line, line);
    cr_assert_not_null(strstr(error->text, part), "%s: %s", path, error->text);
}

Test(spec, values_and_defaults)
{
    struct spec *spec = good(flights);
    const char *const *items;
    cr_assert_str_eq(spec_name(spec), "flights");
    cr_assert_str_eq(spec_str(spec, "source.url"), "file:data/*.csv.gz");
    cr_assert(spec_is(spec, "source.discover.mode", "continuous"));
    cr_assert_eq(spec_duration_ms(spec, "source.discover.interval"), 2500);
    cr_assert_eq(spec_duration_ms(spec, "source.discover.settle"), 2000);
    cr_assert(spec_is(spec, "source.on_change", "fail"));
    cr_assert(spec_is(spec, "format.header", "auto"));
    cr_assert_str_eq(spec_str(spec, "format.delimiter"), ";");
    cr_assert_str_eq(spec_str(spec, "format.quote"), "\"");
    cr_assert_null(spec_str(spec, "format.comment"));
    cr_assert_eq(spec_list(spec, "format.null", &items), 2);
    cr_assert_str_eq(items[0], "");
    cr_assert_str_eq(items[1], "NA");
    cr_assert_not(spec_bool(spec, "format.trim"));
    cr_assert_eq(spec_bytes(spec, "limits.batch_bytes"), 65536);
    cr_assert_eq(spec_bytes(spec, "limits.max_record_bytes"), 16u << 20);
    cr_assert_eq(spec_int(spec, "errors.max_retries"), 4);
    cr_assert(spec_given(spec, "limits.batch_bytes"));
    cr_assert_not(spec_given(spec, "limits.max_leaves"));
    /* A key of another driver reads as nothing. */
    cr_assert_eq(spec_int(spec, "source.rows"), 0);
    spec_unref(spec);
}

Test(spec, columns)
{
    struct spec *spec = good(flights);
    const struct spec_column *columns;
    cr_assert_eq(spec_columns(spec, &columns), 4);
    cr_assert_str_eq(columns[0].name, "id");
    cr_assert_str_eq(columns[0].from, "id");
    cr_assert_not(columns[0].type_given);
    cr_assert_str_eq(columns[1].from, "Flight ID");
    cr_assert_eq(columns[1].type, COL_BIGINT);
    cr_assert_str_eq(columns[1].default_text, "0");
    cr_assert_eq(columns[2].value, VALUE_OBJECT);
    cr_assert_eq(columns[2].type, COL_TEXT);
    cr_assert_null(columns[2].from);
    cr_assert_eq(columns[3].value, VALUE_CONSTANT);
    cr_assert_str_eq(columns[3].constant, "7");
    cr_assert_eq(columns[3].on_mismatch, MISMATCH_NULL);
    spec_unref(spec);
}

Test(spec, canonical_is_one_text_for_equal_specs)
{
    struct spec *a = good("name: x\nsource: {url: a.csv}\n"
                          "destination: {table: t, url: \"sqlite:a.db\"}\n"
                          "format: {header: true}\nlimits: {batch_bytes: 65536}\n");
    struct spec *b =
        good("{\"limits\":{\"batch_bytes\":\"64KiB\"},\"format\":{\"header\":\"true\"},"
             "\"destination\":{\"url\":\"sqlite:a.db\",\"table\":\"t\"},"
             "\"source\":{\"url\":\"a.csv\"},\"name\":\"x\"}");
    cr_assert_str_eq(spec_canonical(a), spec_canonical(b));
    cr_assert_str_eq(spec_canonical(a),
                     "{\"destination\":{\"table\":\"t\",\"url\":\"sqlite:a.db\"},"
                     "\"format\":{\"header\":true},\"limits\":{\"batch_bytes\":\"64KiB\"},"
                     "\"name\":\"x\",\"source\":{\"url\":\"a.csv\"}}");
    struct spec *c = NULL;
    struct ps_error err;
    cr_assert_eq(spec_from_canonical(ps_span_str(spec_canonical(a)), &c, &err), PS_OK);
    cr_assert_str_eq(spec_canonical(a), spec_canonical(c));
    spec_unref(a);
    spec_unref(b);
    spec_unref(c);
}

Test(spec, printed_yaml_reads_back)
{
    struct spec *spec = good(flights);
    for (int with_defaults = 0; with_defaults < 2; with_defaults++) {
        struct ps_buf text = PS_BUF_INIT;
        spec_print_yaml(spec, with_defaults == 1, &text);
        struct spec *again = good(ps_buf_str(&text));
        if (with_defaults == 0) {
            cr_assert_str_eq(spec_canonical(spec), spec_canonical(again));
        }
        const char *path = NULL;
        cr_assert_not(spec_raises_generation(spec, again, &path), "%s", path);
        spec_unref(again);
        ps_buf_fini(&text);
    }
    spec_unref(spec);
}

Test(spec, all_errors_at_once)
{
    struct spec_errors errors = bad("name: -x\n"
                                    "source:\n"
                                    "  urll: a.csv\n"
                                    "  discover: {mode: onse, interval: 5}\n"
                                    "table: t\n"
                                    "format: {quote: ab, trim: maybe}\n"
                                    "destination: {url: \"sqlit:x\", on_conflict: update}\n"
                                    "limits: {batch_bytes: 5KB, max_leaves: -1}\n"
                                    "errors: 5\n");
    expect(&errors, "name", 1, "the first a letter");
    expect(&errors, "source.url", 2, "is required");
    expect(&errors, "source.urll", 3, "did you mean url?");
    expect(&errors, "source.discover.mode", 4, "did you mean once?");
    expect(&errors, "source.discover.interval", 4, "with its unit");
    expect(&errors, "table", 5, "did you mean destination.table?");
    expect(&errors, "format.quote", 6, "one ASCII character");
    expect(&errors, "format.trim", 6, "true or false");
    expect(&errors, "destination.url", 7, "did you mean sqlite:?");
    expect(&errors, "destination.table", 7, "is required");
    expect(&errors, "destination.key", 7, "identify a row");
    expect(&errors, "destination.on_conflict", 7, "order_by");
    expect(&errors, "limits.batch_bytes", 8, "16MiB");
    expect(&errors, "limits.max_leaves", 8, "expected 0 to");
    expect(&errors, "errors", 9, "a section");
    for (size_t i = 1; i < errors.count; i++) {
        cr_assert_leq(errors.items[i - 1].line, errors.items[i].line);
    }
    spec_errors_fini(&errors);
}

static void
no_update_of(const char *names, const char *part)
{
    char text[400];
    snprintf(text, sizeof text,
             "name: a\n"
             "source: {url: a.csv}\n"
             "columns: [{name: id}, {name: v}, {name: ts}]\n"
             "destination: {url: \"sqlite:x.db\", table: t, on_conflict: update, key: [id],"
             " order_by: ts,\n"
             "  update: [%s]}\n",
             names);
    struct spec_errors errors = bad(text);
    expect(&errors, "destination.update", 5, part);
    cr_assert_eq(errors.count, 1);
    spec_errors_fini(&errors);
}

Test(spec, what_an_update_may_name)
{
    no_update_of("v, ts, nope", "there is no column nope");
    no_update_of("ts, ID", "ID is of destination.key");
    no_update_of("v", "ts, the column of order_by, has to be among them");
}

static struct spec *
with_set(const char *text, const char *set)
{
    struct spec_errors errors = {0};
    struct ps_error err = {0};
    struct spec *spec = NULL;
    const char *const sets[] = {set};
    cr_assert_eq(spec_parse(ps_span_str(text), sets, set != NULL, &spec, &errors, &err), PS_OK,
                 "%s", errors.count > 0 ? errors.items[0].text : err.text);
    spec_errors_fini(&errors);
    return spec;
}

#define PLAIN "name: x\nsource: {url: a.csv}\ndestination: {url: \"sqlite:a\", table: t}\n"

Test(spec, columns_as_a_section)
{
    const struct spec_column *columns = NULL;
    struct spec *list = with_set(PLAIN "columns: [id, name]\n", NULL);
    struct spec *section = with_set(PLAIN "columns: {unknown: add, list: [id, name]}\n", NULL);
    struct spec *set = with_set(PLAIN "columns: [id, name]\n", "columns.unknown=add");
    struct spec *set_list =
        with_set(PLAIN "columns: {unknown: add, list: [nix]}\n", "columns=id,name");
    struct spec *alone = with_set(PLAIN, "columns.unknown=reject");
    cr_assert(spec_is(list, "columns.unknown", "ignore"));
    cr_assert(spec_is(section, "columns.unknown", "add"));
    cr_assert(spec_is(alone, "columns.unknown", "reject"));
    cr_assert_eq(spec_columns(section, &columns), 2);
    cr_assert_str_eq(columns[1].name, "name");
    cr_assert_eq(spec_columns(alone, &columns), 0);
    cr_assert_str_eq(spec_canonical(section), spec_canonical(set));
    cr_assert_str_eq(spec_canonical(section), spec_canonical(set_list));
    /* What catalogs hold from before reads as it did; and the section comes back from its own. */
    cr_assert_not_null(strstr(spec_canonical(list), "\"columns\":[{\"name\":\"id\"}"), "%s",
                       spec_canonical(list));
    struct spec *again = NULL;
    struct ps_error err = {0};
    cr_assert_eq(spec_from_canonical(ps_span_str(spec_canonical(section)), &again, &err), PS_OK);
    cr_assert_str_eq(spec_canonical(again), spec_canonical(section));
    /* It is no reason to load anything again. */
    const char *path = NULL;
    cr_assert_not(spec_raises_generation(list, section, &path));
    spec_unref(again);
    spec_unref(alone);
    spec_unref(set_list);
    spec_unref(set);
    spec_unref(section);
    spec_unref(list);
}

Test(spec, wrong_columns_as_a_section)
{
    struct spec_errors errors = bad("name: x\nsource: {url: a.csv}\n"
                                    "destination: {url: \"sqlite:a\", table: t}\n"
                                    "columns:\n"
                                    "  unknown: drop\n"
                                    "  lists: [a]\n"
                                    "  list:\n"
                                    "    - a\n"
                                    "    - A\n"
                                    "    - {name: c, type: integer}\n");
    expect(&errors, "columns.unknown", 5, "ignore|reject|add");
    expect(&errors, "columns.lists", 6, "unknown key");
    expect(&errors, "columns.list[1]", 9, "columns.list[0]");
    expect(&errors, "columns.list[2].type", 10, "text, bigint or double");
    spec_errors_fini(&errors);
}

Test(spec, wrong_columns)
{
    struct spec_errors errors = bad("name: x\nsource: {url: a.csv}\n"
                                    "destination: {url: \"sqlite:a\", table: t, key: [nix]}\n"
                                    "columns:\n"
                                    "  - a\n"
                                    "  - A\n"
                                    "  - {name: b, typ: bigint}\n"
                                    "  - {name: c, type: integer}\n"
                                    "  - {name: d, from: x, value: y}\n"
                                    "  - {name: e, value: $nothing}\n"
                                    "  - {name: f, value: abc, type: bigint}\n"
                                    "  - [g]\n"
                                    "  - {from: h}\n");
    expect(&errors, "columns[1]", 6, "columns[0]");
    expect(&errors, "columns[2].typ", 7, "did you mean type?");
    expect(&errors, "columns[3].type", 8, "text, bigint or double");
    expect(&errors, "columns[4].value", 9, "not both");
    expect(&errors, "columns[5].value", 10, "$object");
    expect(&errors, "columns[6].type", 11, "not a bigint");
    expect(&errors, "columns[7]", 12, "a name or");
    expect(&errors, "columns[8]", 13, "needs a name");
    expect(&errors, "destination.key", 3, "no column nix");
    spec_errors_fini(&errors);
}

Test(spec, keys_of_other_drivers_are_refused)
{
    struct spec_errors errors = bad("name: x\nsource: {url: a.csv, rows: 5}\n"
                                    "destination: {url: \"sqlite:a\", table: t}\n");
    expect(&errors, "source.rows", 2, "only for source:gen");
    spec_errors_fini(&errors);
    struct spec *spec = good("name: x\nsource: {url: \"gen:\", rows: 5}\n"
                             "destination: {url: \"null:\"}\n");
    cr_assert_eq(spec_int(spec, "source.rows"), 5);
    cr_assert_null(spec_str(spec, "destination.table"));
    spec_unref(spec);
}

Test(spec, a_name_says_the_format)
{
    static const struct {
        const char *url;
        const char *type;
    } cases[] = {
        {"a.csv", "csv"},           {"a", "csv"},       {"d/*.ndjson", "ndjson"},
        {"d/x.JSONL.gz", "ndjson"}, {"a.json", "json"}, {"file:a.json.zst", "json"},
        {"d/{a,b.json}", "json"},   {".json", "csv"},   {"null:", "csv"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "{name: x, source: {url: '%s'}, destination: {url: 'null:'}}",
                 cases[i].url);
        struct spec *spec = good(text);
        cr_expect_str_eq(spec_str(spec, "format.type"), cases[i].type, "%s", cases[i].url);
        spec_unref(spec);
    }
    struct spec *spec = good("{name: x, source: {url: a.json}, format: {type: csv, header: false}, "
                             "destination: {url: 'null:'}}");
    cr_expect(spec_is(spec, "format.type", "csv"));
    spec_unref(spec);
}

Test(spec, wrong_paths)
{
    struct spec_errors errors = bad("name: x\n"
                                    "source: {url: a.json}\n"
                                    "destination: {url: 'null:'}\n"
                                    "format: {items: 'a..b', delimiter: ';'}\n"
                                    "columns:\n"
                                    "  - a.b[0].c\n"
                                    "  - 'a.'\n"
                                    "  - {name: b, from: 'x[y]'}\n"
                                    "  - {name: c, from: '[\"q\\\"\\\\.[\"].d'}\n"
                                    "  - {name: d, from: '[\"q\\n\"]'}\n"
                                    "  - {name: e, from: 'a[0'}\n");
    expect(&errors, "format.items", 4, "at character 3 a name");
    expect(&errors, "format.delimiter", 4, "is only for format:csv");
    expect(&errors, "columns[1].from", 7, "at character 3 a name");
    expect(&errors, "columns[2].from", 8, "an index from 0");
    expect(&errors, "columns[4].from", 10, "\\\" or \\\\ is expected");
    expect(&errors, "columns[5].from", 11, "] is expected");
    cr_expect_eq(errors.count, 6);
    spec_errors_fini(&errors);
}

Test(spec, secrets_are_refused)
{
    static const char *const wrong[] = {"postgresql://u:secret@h/db", "http://h/x?password=abc",
                                        "http://h/x?a=1&Token=abc"};
    for (size_t i = 0; i < 3; i++) {
        struct ps_buf text = PS_BUF_INIT;
        ps_buf_xprintf(&text, "name: x\nsource: {url: \"%s\"}\ndestination: {url: \"null:\"}\n",
                       wrong[i]);
        struct spec_errors errors = bad(ps_buf_str(&text));
        bool said = false;
        for (size_t j = 0; j < errors.count; j++) {
            said = said || strstr(errors.items[j].text, "${env:NAME}") != NULL;
            cr_assert_null(strstr(errors.items[j].text, "abc"));
            cr_assert_null(strstr(errors.items[j].text, "u:secret"));
        }
        cr_assert(said, "%s", wrong[i]);
        spec_errors_fini(&errors);
        ps_buf_fini(&text);
    }
    /* References, user names without a password and ordinary parameters are fine. */
    static const char *const fine[] = {"file://u@h/x", "file://u:${env:PW}@h/x",
                                       "file:x?password=${file:/run/s}", "file:a@b:c"};
    for (size_t i = 0; i < 4; i++) {
        struct ps_buf text = PS_BUF_INIT;
        ps_buf_xprintf(&text, "name: x\nsource: {url: \"%s\"}\ndestination: {url: \"null:\"}\n",
                       fine[i]);
        spec_unref(good(ps_buf_str(&text)));
        ps_buf_fini(&text);
    }
}

Test(spec, overrides)
{
    static const char *const set[] = {
        "limits.batch_bytes=64",          "format.header=false", "format.null=NA,",
        "destination.key=[a, \"b\"]",     "format.delimiter=,",  "errors.tolerance=3",
        "source.discover.mode=continuous"};
    struct spec *spec = NULL;
    struct spec_errors errors;
    struct ps_error err = {0};
    const char *const *items;
    static const char text[] = "name: x\nsource: {url: a.csv}\n"
                               "destination: {url: \"sqlite:a\", table: t}\n";
    cr_assert_eq(spec_parse(ps_span_str(text), set, 7, &spec, &errors, &err), PS_OK, "%s",
                 err.text);
    cr_assert_eq(spec_bytes(spec, "limits.batch_bytes"), 64);
    cr_assert(spec_is(spec, "format.header", "false"));
    cr_assert_eq(spec_list(spec, "format.null", &items), 2);
    cr_assert_str_eq(items[1], "");
    cr_assert_eq(spec_list(spec, "destination.key", &items), 2);
    cr_assert_str_eq(items[1], "b");
    cr_assert_eq(spec_tolerance(spec).count, 3);
    spec_unref(spec);

    static const char *const wrong[] = {"limits.batchbytes=64", "header", "limits.max_leaves=x",
                                        "batch_bytes=1"};
    cr_assert_eq(spec_parse(ps_span_str(text), wrong, 4, &spec, &errors, &err), PS_BADDATA);
    expect(&errors, "limits.batchbytes", 0, "limits.batch_bytes");
    expect(&errors, "header", 0, "path=value");
    expect(&errors, "limits.max_leaves", 0, "whole number");
    expect(&errors, "batch_bytes", 0, "limits.batch_bytes");
    spec_errors_fini(&errors);

    /* All of a document may come from --set. */
    static const char *const all[] = {"name=n", "source.url=gen:", "destination.url=null:"};
    cr_assert_eq(spec_parse(ps_span_str(""), all, 3, &spec, &errors, &err), PS_OK, "%s", err.text);
    spec_unref(spec);
}

Test(spec, syntax_errors_have_a_line)
{
    struct spec_errors errors = bad("name: x\nsource: {url: a\n");
    cr_assert_geq(errors.items[0].line, 2);
    spec_errors_fini(&errors);
    errors = bad("name: x\nname: y\n");
    cr_assert_eq(errors.items[0].line, 2);
    cr_assert_not_null(strstr(errors.items[0].text, "stands twice"));
    spec_errors_fini(&errors);
    errors = bad("");
    spec_errors_fini(&errors);
    errors = bad("- a\n");
    spec_errors_fini(&errors);
}

Test(spec, generation)
{
    static const char base[] = "name: x\nsource: {url: a.csv}\n"
                               "destination: {url: \"sqlite:a\", table: t}\n";
    struct changed {
        const char *set;
        const char *path; /* NULL = raises nothing */
    };
    static const struct changed cases[] = {
        {"source.url=b.csv", NULL},
        {"destination.table=u", "destination.table"},
        {"format.delimiter=;", "format.delimiter"},
        {"format.delimiter=,", NULL},
        {"format.null=NA", "format.null"},
        {"columns=a,b", "columns"},
        {"limits.batch_bytes=5", NULL},
        {"errors.tolerance=3", NULL},
        {"source.discover.mode=continuous", NULL},
    };
    struct spec *old = good(base);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spec *spec = NULL;
        struct spec_errors errors;
        const char *path = NULL;
        cr_assert_eq(spec_parse(ps_span_str(base), &cases[i].set, 1, &spec, &errors, NULL), PS_OK);
        cr_assert_eq(spec_raises_generation(old, spec, &path), cases[i].path != NULL, "%s",
                     cases[i].set);
        if (cases[i].path != NULL) {
            cr_assert_str_eq(path, cases[i].path);
        }
        spec_unref(spec);
    }
    spec_unref(old);
}

Test(spec, tolerance)
{
    struct spec_tolerance share = {.is_share = true, .share = 0.001};
    cr_assert_not(spec_over_tolerance(share, 0, 0));
    cr_assert_not(spec_over_tolerance(share, 1, 1000));
    cr_assert(spec_over_tolerance(share, 2, 1000));
    struct spec_tolerance all = {.is_share = true, .share = 1};
    cr_assert_not(spec_over_tolerance(all, 1000, 1000));
    struct spec_tolerance none = {.count = 0};
    cr_assert(spec_over_tolerance(none, 1, 1000));
    cr_assert_not(spec_over_tolerance(none, 0, 1000));
    struct spec *spec = good(flights);
    cr_assert(spec_tolerance(spec).is_share);
    cr_assert_float_eq(spec_tolerance(spec).share, 0.001, 1e-12);
    spec_unref(spec);
}

Test(spec, schemes)
{
    char out[32];
    cr_assert_str_eq(spec_scheme("s3://demo/x", out), "s3");
    cr_assert_str_eq(spec_scheme("SQLite:a", out), "sqlite");
    cr_assert_str_eq(spec_scheme("data/a:b.csv", out), "file");
    cr_assert_str_eq(spec_scheme("/a", out), "file");
    cr_assert_str_eq(spec_scheme("", out), "file");
    cr_assert_str_eq(spec_scheme(":x", out), "file");
    cr_assert_str_eq(spec_scheme("null:", out), "null");
}
