/* SPDX-License-Identifier: Apache-2.0 */
/* common/addr.h: addresses as people write them: "127.0.0.1:7180", "[::1]:7171", "localhost:80".
 * Pure: nothing is looked up. */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include "common/error.h"

enum { PS_HOST_BYTES = 256 };

struct ps_addr {
    char host[PS_HOST_BYTES]; /* without the brackets of IPv6 */
    uint16_t port;
    bool port_given;
};

/* Splits "host[:port]". An IPv6 host stands in brackets. PS_REFUSED with what is wrong. */
PS_MUSTCHECK enum ps_status ps_addr_parse(const char *text, struct ps_addr *out,
                                          struct ps_error *err);
/* "localhost", 127.0.0.0/8 and ::1, written as such; any other name is not, wherever it leads. */
bool ps_host_is_loopback(const char *host);

#endif
