/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/path.h"

static const struct option_row rows[] = {
    {.name = "config", .type = OPTION_TEXT, .value_name = "FILE", .help = "read options from it"},
    {.name = "lease",
     .type = OPTION_DURATION,
     .default_text = "15s",
     .help = "how long",
     .least = 100,
     .most = 3600000},
    {.name = "budget", .type = OPTION_BYTES, .default_text = "64MiB", .help = "memory"},
    {.name = "leaves",
     .letter = 'n',
     .type = OPTION_INT,
     .help = "processes",
     .least = 1,
     .most = 64},
    {.name = "root", .type = OPTION_LIST, .value_name = "DIR", .help = "a folder, repeatable"},
    {.name = "log-format",
     .type = OPTION_ENUM,
     .choices = "text|json",
     .default_text = "text",
     .help = "how lines look"},
    {.name = "quiet", .letter = 'q', .type = OPTION_SWITCH, .help = "say less"},
    {.name = "name", .type = OPTION_TEXT, .required = true, .help = "who"},
    {.name = "help", .letter = 'h', .type = OPTION_SWITCH, .flag_only = true, .help = "this"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static enum ps_status
parse(int argc, const char *const *argv, struct config **out, struct ps_buf *errors)
{
    struct config_input input = {
        .rows = rows, .row_count = ROWS, .argc = argc, .argv = argv, .words_most = 2};
    return config_parse(&input, out, errors);
}

#define PARSE(out, errors, ...)                                                                    \
    parse((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                           \
          (const char *[]){__VA_ARGS__}, (out), (errors))

Test(config, flags)
{
    struct config *config = NULL;
    struct ps_buf errors = PS_BUF_INIT;
    const char *const *items;
    cr_assert_eq(PARSE(&config, &errors, "one", "--name=a", "--lease", "2500ms", "-n4", "--root",
                       "/a", "--root=/b:c", "-q", "--", "--two"),
                 PS_OK, "%s", ps_buf_str(&errors));
    cr_assert_str_eq(config_str(config, "name"), "a");
    cr_assert_eq(config_duration_ms(config, "lease"), 2500);
    cr_assert_eq(config_int(config, "leaves"), 4);
    cr_assert_eq(config_bytes(config, "budget"), 64u << 20);
    cr_assert_eq(config_list(config, "root", &items), 2);
    cr_assert_str_eq(items[1], "/b:c");
    cr_assert(config_bool(config, "quiet"));
    cr_assert_null(config_str(config, "config"));
    cr_assert_eq(config_words(config, &items), 2);
    cr_assert_str_eq(items[1], "--two");
    cr_assert_eq(config_origin(config, "budget"), CONFIG_DEFAULT);
    cr_assert_eq(config_origin(config, "lease"), CONFIG_FLAG);
    cr_assert_not(config_given(config, "budget"));
    config_free(config);
    config_free(NULL);
    ps_buf_fini(&errors);
}

Test(config, all_errors_at_once)
{
    struct config *config = NULL;
    struct ps_buf errors = PS_BUF_INIT;
    cr_assert_eq(PARSE(&config, &errors, "--leas", "2s", "--lease=15", "-n", "65", "--log-format",
                       "xml", "--no-quiet", "-z", "a", "b", "--budget"),
                 PS_REFUSED);
    const char *text = ps_buf_str(&errors);
    cr_assert_not_null(strstr(text, "--leas: unknown option; did you mean --lease?\n"), "%s", text);
    cr_assert_not_null(strstr(text, "--lease: expected a duration"), "%s", text);
    cr_assert_not_null(strstr(text, "-n: expected 1 to 64, got \"65\""), "%s", text);
    cr_assert_not_null(strstr(text, "--log-format: expected text|json"), "%s", text);
    cr_assert_not_null(strstr(text, "-z: unknown option"), "%s", text);
    cr_assert_not_null(strstr(text, "b: one word too many"), "%s", text);
    cr_assert_not_null(strstr(text, "--budget: a value is missing"), "%s", text);
    cr_assert_not_null(strstr(text, "--name: is required"), "%s", text);
    ps_buf_fini(&errors);
}

Test(config, help_needs_nothing_else)
{
    struct config *config = NULL;
    struct ps_buf errors = PS_BUF_INIT;
    cr_assert_eq(PARSE(&config, &errors, "-h"), PS_OK, "%s", ps_buf_str(&errors));
    cr_assert(config_bool(config, "help"));
    config_free(config);
    ps_buf_fini(&errors);
}

Test(config, flag_over_environment_over_file_over_default)
{
    static const char file[] = "lease: 3s\nbudget: 1MiB\nname: from-file\nlog_format: json\n"
                               "root: [/x, /y]\nleaves: 3\n";
    char *folder = NULL;
    struct config *config = NULL;
    struct ps_buf errors = PS_BUF_INIT;
    const char *const *items;
    cr_assert_eq(ps_path_runtime_folder(&folder, NULL), PS_OK);
    char *path = ps_path_join(folder, "c.yaml");
    cr_assert_eq(ps_path_write(path, ps_span_str(file), NULL), PS_OK);
    setenv("PENSTOCK_CONFIG", path, 1);
    setenv("PENSTOCK_BUDGET", "2MiB", 1);
    setenv("PENSTOCK_LEASE", "4s", 1);
    setenv("PENSTOCK_LEAVES", "", 1);
    setenv("PENSTOCK_HELP", "true", 1);
    cr_assert_eq(PARSE(&config, &errors, "--lease=5s"), PS_OK, "%s", ps_buf_str(&errors));
    cr_assert_eq(config_duration_ms(config, "lease"), 5000);
    cr_assert_eq(config_bytes(config, "budget"), 2u << 20);
    cr_assert_str_eq(config_str(config, "name"), "from-file");
    cr_assert_str_eq(config_str(config, "log-format"), "json");
    cr_assert_eq(config_int(config, "leaves"), 3);
    cr_assert_eq(config_origin(config, "leaves"), CONFIG_FILE);
    cr_assert_eq(config_list(config, "root", &items), 2);
    config_free(config);
    setenv("PENSTOCK_ROOT", "/a::/b", 1);
    cr_assert_eq(PARSE(&config, &errors, "--lease=5s"), PS_OK);
    cr_assert_eq(config_list(config, "root", &items), 2);
    cr_assert_str_eq(items[0], "/a");
    config_free(config);
    cr_assert_eq(ps_path_write(path, ps_span_str("leese: 1s\nname: [a]\nleaves: 100\n"), NULL),
                 PS_OK);
    cr_assert_eq(PARSE(&config, &errors, "-q"), PS_REFUSED);
    const char *text = ps_buf_str(&errors);
    cr_assert_not_null(strstr(text, "line 1: leese: unknown option; did you mean lease?"), "%s",
                       text);
    cr_assert_not_null(strstr(text, "line 2: name: expected one value"), "%s", text);
    cr_assert_not_null(strstr(text, "line 3: leaves: expected 1 to 64"), "%s", text);
    cr_assert_eq(ps_path_remove_tree(folder, NULL), PS_OK);
    ps_buf_fini(&errors);
    ps_free(path);
    ps_free(folder);
}

Test(option, help_and_reference)
{
    struct ps_buf out = PS_BUF_INIT;
    option_help(rows, ROWS, &out);
    const char *text = ps_buf_str(&out);
    cr_assert_not_null(strstr(text, "      --lease TIME            how long (default 15s)\n"), "%s",
                       text);
    cr_assert_not_null(strstr(text, "  -q, --quiet                 say less\n"), "%s", text);
    cr_assert_not_null(strstr(text, "      --log-format text|json  how lines look"), "%s", text);
    ps_buf_clear(&out);
    option_markdown(rows, ROWS, &out);
    text = ps_buf_str(&out);
    cr_assert_not_null(
        strstr(text, "| `--log-format` | text\\|json | text | PENSTOCK_LOG_FORMAT |"), "%s", text);
    ps_buf_fini(&out);
}
