/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_route.h: routes.def as a table. Pure. */
#ifndef COORDINATOR_API_API_ROUTE_H
#define COORDINATOR_API_API_ROUTE_H

#include "common/buf.h"
#include "common/span.h"

struct api_call;

enum api_method { API_GET, API_PUT, API_POST, API_DELETE, API_METHOD_COUNT };

struct api_route {
    enum api_method method;
    const char *pattern;
    void (*handler)(struct api_call *call);
    const char *parameters; /* separated by spaces */
    const char *text;
};

#define ROUTE(method, pattern, handler, parameters, text) void handler(struct api_call *call);
#include "coordinator/api/routes.def"
#undef ROUTE

const struct api_route *api_route_all(size_t *out_count);

struct api_match {
    const struct api_route *route; /* NULL: none */
    struct ps_span name;           /* {name} as written in the path; empty where there is none */
    char allow[64];                /* "GET, HEAD, PUT": methods of the path; "": no such path */
};
/* method as in the request line. Borrows path. */
struct api_match api_route_match(const char *method, const char *path);
bool api_route_has_parameter(const struct api_route *route, const char *name);

/* The reference page, in Markdown. */
void api_route_reference(struct ps_buf *out);

#endif
