/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/rpc/rpc_url.h: which addresses agents may come in by.
 * Until agents authenticate: tcp on a loopback address, and ipc. Pure. */
#ifndef COORDINATOR_RPC_RPC_URL_H
#define COORDINATOR_RPC_RPC_URL_H

#include "common/error.h"

/* A longer ipc path does not fit sockaddr_un on every system; nng cuts or refuses it late. */
enum { RPC_URL_PATH_BYTES = 100 };

/* PS_REFUSED with what to write instead. */
PS_MUSTCHECK enum ps_status rpc_url_check(const char *url, struct ps_error *err);

#endif
