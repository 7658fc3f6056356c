/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api.h: the door for people and scripts: HTTP and JSON.
 * In: requests by routes.def.  Out: commands into the engine's inbox and its results as JSON; lists
 *     read straight from the catalog on connections of their own.
 * Invariant: no request holds a thread while it waits for the engine (its connection is suspended);
 *            every fault is one application/problem+json with a code of problems.def.
 * Until there is authentication only loopback addresses and unix sockets are served, and a TCP
 * request must name a loopback host (a web page elsewhere cannot reach us by DNS rebinding).
 * Room for what comes later: authentication is a step in api_server.c before the route's handler;
 * the page and metrics are routes; event streams are an answer of api_call.h.
 * Threads: api_open, api_close and api_free from one thread; results come on the engine's thread
 *          and may come until the engine is freed, hence the two steps to end. */
#ifndef COORDINATOR_API_API_H
#define COORDINATOR_API_API_H

#include "common/error.h"
#include "coordinator/catalog/catalog_reader.h"
#include "coordinator/engine/engine.h"

struct api;

struct api_config {
    const char *http; /* as api_listen_check allows */
};

/* Serves from here on; /readyz says no until api_set_ready. reader and engine are borrowed. */
PS_MUSTCHECK enum ps_status api_open(const struct api_config *config, struct engine *engine,
                                     struct catalog_reader *reader, struct api **out,
                                     struct ps_error *err);
/* "http://127.0.0.1:7180" with the port that was really taken, or "unix:PATH". */
const char *api_address(const struct api *api);
/* why_not NULL: ready. Else a static text for /readyz. */
void api_set_ready(struct api *api, const char *why_not);
/* No request goes in after this. Those that wait are answered with the code shutting_down. */
void api_close(struct api *api);
/* Only after the engine has been freed. Closes first where that was not done. NULL is fine. */
void api_free(struct api *api);

#endif
