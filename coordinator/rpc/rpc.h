/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/rpc/rpc.h: the door through which agents come in.
 * In: frames over nng REP.  Out: requests into the engine's inbox; the engine's replies as frames.
 * Invariant: a lane (one REP context) is in exactly one of: receiving, in the engine, sending. A
 *            request that is waited for (sync is a long poll) holds its lane, no thread; while few
 *            lanes are free more are opened, up to lanes_max. A message that is not a frame of an
 *            agent is dropped, with one log line.
 * Threads: rpc_open, rpc_close and rpc_free from one thread; replies come on the engine's thread
 *          and may come until the engine is freed, hence the two steps to end. */
#ifndef COORDINATOR_RPC_RPC_H
#define COORDINATOR_RPC_RPC_H

#include "common/error.h"
#include "coordinator/engine/engine.h"

struct rpc;

struct rpc_config {
    const char *const *urls; /* each as rpc_url_check allows */
    size_t url_count;
    uint32_t lanes_max;       /* 0: 65536 */
    uint32_t send_timeout_ms; /* 0: 5000 */
};

/* Listens and serves from here on. */
PS_MUSTCHECK enum ps_status rpc_open(const struct rpc_config *config, struct engine *engine,
                                     struct rpc **out, struct ps_error *err);
/* The port of the first tcp listener (that of "tcp://127.0.0.1:0" is chosen by the system); 0
 * where there is none. */
uint16_t rpc_port(const struct rpc *rpc);
/* No request goes in after this; replies that still come are dropped. Takes a second at most: where
 * nng cannot let go of its connections by then, what it uses is left to the end of the program. */
void rpc_close(struct rpc *rpc);
/* Only after the engine has been freed. Closes first where that was not done. NULL is fine. */
void rpc_free(struct rpc *rpc);

#endif
