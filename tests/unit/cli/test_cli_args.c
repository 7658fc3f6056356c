/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/cli_args.h"
#include "common/alloc.h"

enum { WORDS_MOST = 16 };

/* Parses a line split at spaces. */
static enum ps_status
parse(const char *line, struct cli_args *args, struct ps_error *err)
{
    static char text[256];
    static char *words[WORDS_MOST];
    int count = 0;
    cr_assert_lt(strlen(line), sizeof text);
    memcpy(text, line, strlen(line) + 1);
    for (char *at = text; *at != '\0' && count < WORDS_MOST - 1;) {
        words[count++] = at;
        at += strcspn(at, " ");
        if (*at == ' ') {
            *at++ = '\0';
        }
    }
    words[count] = NULL;
    return cli_args_parse(count, words, args, err);
}

static void
refuses(const char *line, const char *part)
{
    struct cli_args args;
    struct ps_error err = {0};
    cr_assert_eq(parse(line, &args, &err), PS_REFUSED, "%s", line);
    cr_expect(strstr(err.text, part) != NULL, "%s: got \"%s\"", line, err.text);
    cli_args_fini(&args);
}

Test(cli_args, options_and_words)
{
    struct cli_args args;
    uint64_t leaves = 7;
    cr_assert_eq(parse("penstock load a.csv --into sqlite:x.db -t flights --leaves=3 b.csv "
                       "--set a=1 --no-header --set b=2",
                       &args, NULL),
                 PS_OK);
    cr_assert_str_eq(args.command->name, "load");
    cr_assert_eq(args.word_count, 2);
    cr_expect_str_eq(args.words[1], "b.csv");
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_INTO), "sqlite:x.db");
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_TABLE), "flights");
    cr_expect(cli_args_has(&args, CLI_OPT_NO_HEADER));
    cr_expect_not(cli_args_has(&args, CLI_OPT_DRY_RUN));
    cr_expect(cli_args_number(&args, CLI_OPT_LEAVES, &leaves));
    cr_expect_eq(leaves, 3);
    size_t count = 0;
    const char **sets = cli_args_all(&args, CLI_OPT_SET, &count);
    cr_assert_eq(count, 2);
    cr_expect_str_eq(sets[0], "a=1");
    cr_expect_str_eq(sets[1], "b=2");
    ps_free(sets);
    cli_args_fini(&args);
}

Test(cli_args, short_forms_and_end_of_options)
{
    struct cli_args args;
    cr_assert_eq(parse("penstock get pipelines -ojson", &args, NULL), PS_OK);
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_OUTPUT), "json");
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock start -w -o yaml x", &args, NULL), PS_OK);
    cr_expect(cli_args_has(&args, CLI_OPT_WAIT));
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_OUTPUT), "yaml");
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock load -- --odd.csv", &args, NULL), PS_OK);
    cr_expect_str_eq(args.words[0], "--odd.csv");
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock run -", &args, NULL), PS_OK);
    cr_expect_str_eq(args.words[0], "-");
    cli_args_fini(&args);
}

Test(cli_args, what_is_wrong_is_said)
{
    refuses("penstock lod x", "did you mean load?");
    refuses("penstock load x --intoo y", "did you mean --into?");
    refuses("penstock load x --into", "--into needs a value");
    refuses("penstock load", "load needs PATTERN...");
    refuses("penstock load x --dry-run=1", "takes no value");
    refuses("penstock stop a b", "\"b\" is one argument too many");
    refuses("penstock get nonsense", "is not one of");
    refuses("penstock get pipelines --into x", "get has no option --into");
    refuses("penstock load x -q", "unknown option -q");
}

Test(cli_args, rejects_take_numbers_filters_and_files)
{
    struct cli_args args;
    struct ps_error err = {0};
    cr_assert_eq(parse("penstock rejects show p 3 7-9", &args, &err), PS_OK, "%s", err.text);
    cr_expect_eq(args.word_count, 4);
    cli_args_fini(&args);
    cr_assert_eq(
        parse("penstock rejects replay p --file bad.jsonl --set format.quote=none", &args, &err),
        PS_OK, "%s", err.text);
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_FILE), "bad.jsonl");
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock rejects replay p --all --code bad_type --ids 1,4-9", &args, &err),
                 PS_OK, "%s", err.text);
    cr_expect(cli_args_has(&args, CLI_OPT_ALL));
    cr_expect_str_eq(cli_args_get(&args, CLI_OPT_IDS), "1,4-9");
    cli_args_fini(&args);
    refuses("penstock rejects redo p", "is not one of");
    refuses("penstock rejects replay", "NAME");
    refuses("penstock get pipelines --ids 3", "get has no option --ids");
}

Test(cli_args, numbers)
{
    struct cli_args args;
    uint64_t value = 5;
    cr_assert_eq(parse("penstock get pipelines --limit -3", &args, NULL), PS_OK);
    cr_expect_not(cli_args_number(&args, CLI_OPT_LIMIT, &value));
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock get pipelines", &args, NULL), PS_OK);
    cr_expect(cli_args_number(&args, CLI_OPT_LIMIT, &value));
    cr_expect_eq(value, 5);
    cli_args_fini(&args);
}

Test(cli_args, help_needs_no_arguments)
{
    struct cli_args args;
    cr_assert_eq(parse("penstock load --help", &args, NULL), PS_OK);
    cr_expect(cli_args_has(&args, CLI_OPT_HELP));
    cli_args_fini(&args);
    cr_assert_eq(parse("penstock", &args, NULL), PS_OK);
    cr_expect_null(args.command);
    cli_args_fini(&args);
}
