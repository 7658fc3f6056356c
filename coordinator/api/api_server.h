/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_server.h: the inside of the API's two halves, api_server.c (connections) and
 * api_call.c (requests). Not for handlers.
 * A call has two holders: its connection, and the engine while a command is under way. States:
 *   READING → (handler) → ANSWERED                          answered at once
 *   READING → WAITING → BUILDING → ANSWERED                 answered by the engine's result
 *   READING → WAITING → ANSWERED                            answered by api_close
 * From WAITING to ANSWERED the connection is suspended. */
#ifndef COORDINATOR_API_API_SERVER_H
#define COORDINATOR_API_API_SERVER_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "coordinator/api/api_call.h"
#include "coordinator/api/api_listen.h"

enum { API_PARAMETERS_MOST = 8, API_HEADERS_MOST = 4 };

enum api_call_state { CALL_READING, CALL_WAITING, CALL_BUILDING, CALL_ANSWERED };

struct api_pair {
    const char *name; /* static */
    char *value;
};

struct api_call {
    struct api *api;
    struct MHD_Connection *connection;
    struct api_match match;
    char *name;
    char *if_none_match;
    struct ps_buf body;
    struct api_pair parameters[API_PARAMETERS_MOST];
    size_t parameter_count;
    bool submitted;
    /* Leaves WAITING under api->lock. */
    _Atomic(enum api_call_state) state;
    unsigned holders;      /* under api->lock, as the two links */
    struct api_call *next; /* of api->calls */
    struct api_call *prev;
    /* The answer; written before state becomes ANSWERED. */
    api_done_fn done;
    unsigned status;
    struct MHD_Response *response;
    struct api_pair headers[API_HEADERS_MOST];
    size_t header_count;
};

struct api {
    struct engine *engine;
    struct catalog_reader *reader;
    struct MHD_Daemon *daemon;
    struct api_listen listen;
    _Atomic(const char *) why_not_ready;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t call_left;
    bool closing;
    struct api_call *calls;
    size_t connected; /* calls whose connection has not had its answer */
};

struct api_call *api_call_new(struct api *api, struct MHD_Connection *connection);
/* The connection is done with it: drops that holder. */
void api_call_disconnect(struct api_call *call);
/* Drops one holder. */
void api_call_release(struct api_call *call);
/* Name, parameters and the rest of the header; false: answered with what is wrong. */
PS_MUSTCHECK bool api_call_read_header(struct api_call *call, const char *method, const char *path);
/* Queues the answer on the connection. */
enum MHD_Result api_call_send(struct api_call *call);
/* Answers all that wait with shutting_down. */
void api_call_cancel_all(struct api *api);

#endif
