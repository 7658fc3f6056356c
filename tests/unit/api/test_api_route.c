/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/path.h"
#include "coordinator/api/api_cursor.h"
#include "coordinator/api/api_listen.h"
#include "coordinator/api/api_problem.h"
#include "coordinator/api/api_route.h"
#include "tests/support/reference.h"

static void
expect_route(const char *method, const char *path, const char *pattern, const char *name)
{
    struct api_match match = api_route_match(method, path);
    cr_assert_not_null(match.route, "%s %s", method, path);
    cr_expect_str_eq(match.route->pattern, pattern);
    cr_expect(ps_span_eq(match.name, ps_span_str(name)), "%s", path);
}

Test(api_route, matches)
{
    expect_route("GET", "/v1/pipelines", "/v1/pipelines", "");
    expect_route("HEAD", "/v1/pipelines/a", "/v1/pipelines/{name}", "a");
    expect_route("PUT", "/v1/pipelines/a%2Fb", "/v1/pipelines/{name}", "a%2Fb");
    expect_route("POST", "/v1/pipelines/a:start", "/v1/pipelines/{name}:start", "a");
    expect_route("GET", "/v1/pipelines/start/batches", "/v1/pipelines/{name}/batches", "start");
}

Test(api_route, knows_what_is_allowed)
{
    struct api_match match = api_route_match("POST", "/v1/pipelines/a");
    cr_expect_null(match.route);
    cr_expect_str_eq(match.allow, "GET, HEAD, PUT, DELETE");
    cr_expect_str_eq(api_route_match("GET", "/v1/pipelines/a:start").allow, "POST");
    const char *const none[] = {"",
                                "/",
                                "/v1/pipelines/",
                                "/v1/pipelines/a:begin",
                                "/v1/pipelines/a/b",
                                "/v1/pipelinesx",
                                "/v1/pipelines/:start"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        cr_expect_str_eq(api_route_match("GET", none[i]).allow, "", "%s", none[i]);
    }
}

Test(api_route, parameters_are_whole_words)
{
    const struct api_route *route = api_route_match("GET", "/v1/events").route;
    cr_assert_not_null(route);
    cr_expect(api_route_has_parameter(route, "after"));
    cr_expect(api_route_has_parameter(route, "limit"));
    cr_expect_not(api_route_has_parameter(route, "lim"));
    cr_expect_not(api_route_has_parameter(route, ""));
    cr_expect_not(api_route_has_parameter(route, "limits"));
}

Test(api_route, reference_is_current)
{
    struct ps_buf made = PS_BUF_INIT;
    api_route_reference(&made);
    reference_is("docs/reference/http-api.md", ps_buf_span(&made),
                 "routes.def and problems.def say");
    ps_buf_fini(&made);
}

Test(api_problem, codes_are_unique_and_found_again)
{
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        struct command_result result = {.status = PS_REFUSED,
                                        .code = api_problem_row((enum api_problem)i)->code};
        cr_expect_eq(api_problem_of_result(&result), (enum api_problem)i, "%s", result.code);
    }
    struct command_result unknown = {.status = PS_AGAIN, .code = "never_heard_of"};
    cr_expect_eq(api_problem_of_result(&unknown), PROBLEM_busy);
    unknown.status = PS_BUG;
    cr_expect_eq(api_problem_of_result(&unknown), PROBLEM_internal);
}

Test(api_cursor, comes_back)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf key = PS_BUF_INIT;
    uint64_t number = 0;
    api_cursor_write(API_CURSOR_PIPELINES, ps_span("\xff\xfe\0x", 4), &text);
    cr_expect_null(strpbrk(ps_buf_str(&text), "+/="));
    cr_assert_eq(api_cursor_read(API_CURSOR_PIPELINES, ps_buf_str(&text), &key, NULL), PS_OK);
    cr_expect(ps_span_eq(ps_buf_span(&key), ps_span("\xff\xfe\0x", 4)));
    cr_expect_eq(api_cursor_read(API_CURSOR_EVENTS, ps_buf_str(&text), &key, NULL), PS_BADDATA);
    cr_expect_eq(api_cursor_read_u64(API_CURSOR_PIPELINES, ps_buf_str(&text), &number, NULL),
                 PS_BADDATA);
    ps_buf_clear(&text);
    api_cursor_write_u64(API_CURSOR_EVENTS, UINT64_MAX - 5, &text);
    cr_assert_eq(api_cursor_read_u64(API_CURSOR_EVENTS, ps_buf_str(&text), &number, NULL), PS_OK);
    cr_expect_eq(number, UINT64_MAX - 5);
    const char *const bad[] = {"", "!", "A", "ZQ==", "ZQ\n", "p"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(api_cursor_read_u64(API_CURSOR_EVENTS, bad[i], &number, NULL), PS_BADDATA,
                     "%s", bad[i]);
    }
    ps_buf_fini(&text);
    ps_buf_fini(&key);
}

Test(api_listen, serves_loopback_and_unix_only)
{
    const char *const good[] = {"127.0.0.1:7180", "[::1]:0", "localhost:7180", "unix:/run/p.sock"};
    const char *const bad[] = {
        "0.0.0.0:7180", "[::]:7180", "example.org:80", "127.0.0.1",
        "unix:",        "7180",      ":7180",          "http://127.0.0.1:80"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_expect_eq(api_listen_check(good[i], NULL), PS_OK, "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(api_listen_check(bad[i], NULL), PS_REFUSED, "%s", bad[i]);
    }
    cr_expect(api_listen_host_allowed("localhost:7180"));
    cr_expect(api_listen_host_allowed("[::1]"));
    cr_expect_not(api_listen_host_allowed("evil.example:7180"));
    cr_expect_not(api_listen_host_allowed("localhost.evil.example"));
    cr_expect_not(api_listen_host_allowed(""));
}
