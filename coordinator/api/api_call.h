/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_call.h: one HTTP request from its header to its answer; what a route's
 * handler works with.
 * Invariant: a handler answers exactly once: by one api_call_answer_* or problem, or by
 *            api_call_submit, whose `done` then answers.
 * Threads: handlers run on a thread of the HTTP server, `done` on the engine's: it must not block.
 */
#ifndef COORDINATOR_API_API_CALL_H
#define COORDINATOR_API_API_CALL_H

#include <jansson.h>

#include "coordinator/api/api.h"
#include "coordinator/api/api_cursor.h"
#include "coordinator/api/api_problem.h"
#include "coordinator/api/api_route.h"

enum { API_BODY_BYTES = 1024 * 1024, API_LIMIT = 100, API_LIMIT_MOST = 1000 };

struct api_call; /* opaque to handlers */

/* ---- what was asked; texts are borrowed for the call's life */
struct catalog_reader *api_call_reader(struct api_call *call);
const char *api_call_name(const struct api_call *call); /* {name}, decoded */
struct ps_span api_call_body(const struct api_call *call);
const char *api_call_header(struct api_call *call, const char *name);    /* NULL: none */
const char *api_call_parameter(struct api_call *call, const char *name); /* NULL: none */
const char *api_call_why_not_ready(const struct api_call *call);         /* NULL: ready */
/* Decimal, at most `most`; `absent` when not given. False: it has been answered. */
PS_MUSTCHECK bool api_call_number(struct api_call *call, const char *name, uint64_t absent,
                                  uint64_t most, uint64_t *out);
PS_MUSTCHECK bool api_call_limit(struct api_call *call, uint32_t *out);
/* One of choices ("a|b"), NULL when not given. False: it has been answered. */
PS_MUSTCHECK bool api_call_choice(struct api_call *call, const char *name, const char *choices,
                                  const char **out);
/* The key in the cursor, empty when not given. False: it has been answered. */
PS_MUSTCHECK bool api_call_cursor(struct api_call *call, enum api_cursor_list list,
                                  struct ps_buf *out_key);
PS_MUSTCHECK bool api_call_cursor_u64(struct api_call *call, enum api_cursor_list list,
                                      uint64_t *out);

/* The catalog's number of the pipeline {name}. False: it has been answered. */
PS_MUSTCHECK bool api_call_find_pipeline(struct api_call *call, uint64_t *out);
/* The tag in If-None-Match; NULL: none. Kept, so that `done` may ask. */
const char *api_call_if_none_match(const struct api_call *call);

/* ---- answers */
void api_call_answer(struct api_call *call, unsigned status, json_t *own_json);
void api_call_answer_message(struct api_call *call, unsigned status,
                             const ProtobufCMessage *message);
void api_call_answer_empty(struct api_call *call, unsigned status);
void api_call_set_header(struct api_call *call, const char *name, const char *value);
void api_call_problem(struct api_call *call, enum api_problem problem, const char *fmt, ...)
    PS_PRINTF(3, 4);
struct api_fields { /* faults of single fields */
    const Penstock__ApiFieldError *const *items;
    size_t count;
};
void api_call_problem_fields(struct api_call *call, enum api_problem problem, const char *detail,
                             struct api_fields fields);
/* The problem that this result of the engine or of the catalog is. */
void api_call_problem_result(struct api_call *call, const struct command_result *result);
void api_call_problem_error(struct api_call *call, const struct ps_error *err);

/* ---- lists: {"items": […], "next": "cursor"} */
struct api_list {
    struct api_call *call;
    json_t *items;
    uint32_t limit;
    bool more;          /* a row beyond the limit was seen */
    bool failed;        /* answered with a problem */
    struct ps_buf last; /* the cursor that stands at the last item */
};
void api_list_init(struct api_list *list, struct api_call *call, uint32_t limit);
/* False when the list is full; then the row is not in it and there is a next page. */
PS_MUSTCHECK bool api_list_room(struct api_list *list);
/* False: it failed and has been answered. Set list->last after it. */
PS_MUSTCHECK bool api_list_add(struct api_list *list, const ProtobufCMessage *message);
/* Answers unless that has been done; status and err are those of the walk. */
void api_list_end(struct api_list *list, enum ps_status status, const struct ps_error *err);

/* ---- commands. Suspends the connection; done is called on the engine's thread. Takes what the
 * command owns; fills its ctx, reply, and name with that of the path. */
typedef void (*api_done_fn)(struct api_call *call, const struct command_result *result);
void api_call_submit(struct api_call *call, struct engine_command *command, api_done_fn done);

#endif
