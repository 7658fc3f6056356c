/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char written[8192];

/* What one call writes to stderr. */
static const char *
logged(enum log_level level, const char *text)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    log_write(level, "lease.expired", "text=%s", text);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t n = read(ends[0], written, sizeof written - 1);
    close(ends[0]);
    written[n < 0 ? 0 : n] = '\0';
    return written;
}

Test(log, a_line_an_event)
{
    log_setup("tester", LOG_INFO, LOG_TEXT);
    cr_assert_str_eq(logged(LOG_DEBUG, "x"), "");
    const char *line = logged(LOG_WARN, "x");
    cr_assert_not_null(strstr(line, "Z warn tester["), "%s", line);
    cr_assert_not_null(strstr(line, "] lease.expired text=x\n"), "%s", line);
    cr_assert(log_enabled(LOG_ERROR));
    log_setup("tester", LOG_OFF, LOG_TEXT);
    cr_assert_str_eq(logged(LOG_ERROR, "x"), "");
}

Test(log, long_texts_stay_one_line)
{
    static char text[6000];
    memset(text, '"', sizeof text - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_setup("tester", LOG_INFO, (enum log_format)format);
        const char *line = logged(LOG_INFO, text);
        cr_assert_eq(strcspn(line, "\n"), strlen(line) - 1);
    }
}

Test(log, json_lines_are_json)
{
    log_setup("tester", LOG_INFO, LOG_JSON);
    json_t *line = json_loads(logged(LOG_ERROR, "a \"quoted\" \\ line\nand a second"), 0, NULL);
    cr_assert_not_null(line, "%s", written);
    cr_assert_str_eq(json_string_value(json_object_get(line, "level")), "error");
    cr_assert_str_eq(json_string_value(json_object_get(line, "text")),
                     "text=a \"quoted\" \\ line\nand a second");
    json_decref(line);
}

Test(log, levels)
{
    enum log_level level = LOG_OFF;
    cr_assert(log_level_parse("debug", &level));
    cr_assert_eq(level, LOG_DEBUG);
    cr_assert_not(log_level_parse("loud", &level));
}

Test(log, bytes_from_outside_are_quoted)
{
    char out[32];
    cr_assert_str_eq(log_quote(ps_span("a\n\xff b", 5), out, sizeof out), "a\\x0a\\xff b");
    cr_assert_str_eq(log_quote(ps_span("", 0), out, sizeof out), "");
    const char *cut =
        log_quote(ps_span("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 39), out, sizeof out);
    cr_assert_lt(strlen(cut), sizeof out);
    cr_assert_not_null(strstr(cut, "..."));
}
