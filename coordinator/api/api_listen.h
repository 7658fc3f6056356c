/* SPDX-License-Identifier: Apache-2.0 */
/* coordinator/api/api_listen.h: the listening socket of the API.
 * Addresses: "127.0.0.1:7180", "[::1]:7180", "localhost:7180" (port 0: any), "unix:PATH". */
#ifndef COORDINATOR_API_API_LISTEN_H
#define COORDINATOR_API_API_LISTEN_H

#include "common/error.h"

enum { API_LISTEN_PATH_BYTES = 100, API_LISTEN_TEXT_BYTES = 320 };

struct api_listen {
    int fd;
    bool is_unix;
    char address[API_LISTEN_TEXT_BYTES]; /* "http://host:port" or "unix:PATH" */
};

/* PS_REFUSED with what to write instead. Pure. */
PS_MUSTCHECK enum ps_status api_listen_check(const char *http, struct ps_error *err);
/* A unix socket is 0600; one that nobody serves any more is replaced. The caller closes fd. */
PS_MUSTCHECK enum ps_status api_listen_open(const char *http, struct api_listen *out,
                                            struct ps_error *err);
/* Closes and, for a unix socket, removes its name. */
void api_listen_close(struct api_listen *listen);

/* May a request whose Host (or whose Origin's host) is this text be served on TCP? */
bool api_listen_host_allowed(const char *host);

#endif
