/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_route.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/api/api_problem.h"

static const struct api_route routes[] = {
#define ROUTE(method, pattern, handler, parameters, text)                                          \
    {API_##method, pattern, handler, parameters, text},
#include "coordinator/api/routes.def"
#undef ROUTE
};

static const char *const method_names[] = {
    [API_GET] = "GET", [API_PUT] = "PUT", [API_POST] = "POST", [API_DELETE] = "DELETE"};

const struct api_route *
api_route_all(size_t *out_count)
{
    *out_count = sizeof routes / sizeof routes[0];
    return routes;
}

static bool
pattern_matches(const char *pattern, const char *path, struct ps_span *out_name)
{
    static const char hole[] = "{name}";
    while (*pattern != '\0') {
        if (strncmp(pattern, hole, sizeof hole - 1) == 0) {
            size_t len = strcspn(path, "/:");
            if (len == 0) {
                return false;
            }
            *out_name = ps_span(path, len);
            path += len;
            pattern += sizeof hole - 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

struct api_match
api_route_match(const char *method, const char *path)
{
    struct api_match match = {0};
    size_t at = 0;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        struct ps_span name = {0};
        if (!pattern_matches(routes[i].pattern, path, &name)) {
            continue;
        }
        const char *allowed = method_names[routes[i].method];
        bool get = routes[i].method == API_GET;
        at += (size_t)snprintf(match.allow + at, sizeof match.allow - at, "%s%s%s",
                               at == 0 ? "" : ", ", allowed, get ? ", HEAD" : "");
        if (strcmp(method, allowed) == 0 || (get && strcmp(method, "HEAD") == 0)) {
            match.route = &routes[i];
            match.name = name;
        }
    }
    return match;
}

bool
api_route_has_parameter(const struct api_route *route, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = route->parameters; *at != '\0';) {
        size_t word = strcspn(at, " ");
        if (word == len && memcmp(at, name, len) == 0) {
            return true;
        }
        at += word;
        at += strspn(at, " ");
    }
    return false;
}

static void
reference_route(const struct api_route *route, struct ps_buf *out)
{
    ps_buf_xprintf(out, "\n### %s %s\n\n%s\n", method_names[route->method], route->pattern,
                   route->text);
    if (route->parameters[0] != '\0') {
        ps_buf_xprintf(out, "\nQuery: ");
        for (const char *at = route->parameters; *at != '\0';) {
            size_t word = strcspn(at, " ");
            ps_buf_xprintf(out, "%s`%.*s`", at == route->parameters ? "" : ", ", (int)word, at);
            at += word;
            at += strspn(at, " ");
        }
        ps_buf_xprintf(out, ".\n");
    }
}

void
api_route_reference(struct ps_buf *out)
{
    ps_buf_xprintf(
        out,
        "# HTTP API\n\n"
        "Generated from `coordinator/api/routes.def` and `problems.def`; a test compares.\n\n"
        "The coordinator serves it on a loopback address (`--http 127.0.0.1:7180`) or on a unix\n"
        "socket (`--http unix:PATH`, mode 0600). A request over TCP must name `localhost`,\n"
        "`127.0.0.1` or `[::1]` as its host.\n\n"
        "- Bodies are JSON, at most 1 MiB. 64-bit integers are decimal strings. Bytes are base64\n"
        "  under a key that ends in `_b64`. Names of objects that are not UTF-8 are shown with\n"
        "  `%%HH` for each such byte, and a `%%` as `%%25`.\n"
        "- Lists answer `{\"items\": [...], \"next\": \"...\"}`; pass `next` as `cursor` to go "
        "on;\n"
        "  without `next` the list has ended. `limit` is 100 unless given and at most 1000.\n"
        "- Every pipeline has a `revision`, which is also its `ETag`.\n"
        "- Errors are `application/problem+json` (RFC 9457) with a stable `code`.\n\n"
        "## Routes\n");
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        reference_route(&routes[i], out);
    }
    ps_buf_xprintf(out, "\n## Errors\n\n| code | status | meaning |\n|---|---|---|\n");
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        const struct api_problem_row *row = api_problem_row((enum api_problem)i);
        ps_buf_xprintf(out, "| `%s` | %u | %s |\n", row->code, row->status, row->title);
    }
}
