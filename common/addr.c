/* SPDX-License-Identifier: Apache-2.0 */
#include "common/addr.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static enum ps_status
parse_port(const char *text, const char *digits, struct ps_addr *out, struct ps_error *err)
{
    uint32_t port = 0;
    size_t i = 0;
    for (; digits[i] >= '0' && digits[i] <= '9' && i < 6; i++) {
        port = port * 10 + (uint32_t)(digits[i] - '0');
    }
    if (i == 0 || digits[i] != '\0' || port > UINT16_MAX) {
        return ps_fail(err, PS_REFUSED, "\"%s\": the port must be a number from 0 to 65535", text);
    }
    out->port = (uint16_t)port;
    out->port_given = true;
    return PS_OK;
}

enum ps_status
ps_addr_parse(const char *text, struct ps_addr *out, struct ps_error *err)
{
    const char *host = text;
    const char *end = NULL;
    const char *rest = NULL;
    if (text[0] == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0')) {
            return ps_fail(err, PS_REFUSED, "\"%s\": expected [address]:port", text);
        }
        rest = end + 1;
    } else {
        end = strchr(text, ':');
        if (end == NULL) {
            end = text + strlen(text);
        } else if (strchr(end + 1, ':') != NULL) {
            return ps_fail(err, PS_REFUSED, "\"%s\": an IPv6 address stands in brackets: [::1]:80",
                           text);
        }
        rest = end;
    }
    size_t len = (size_t)(end - host);
    if (len == 0 || len >= sizeof out->host) {
        return ps_fail(err, PS_REFUSED, "\"%s\": expected host:port", text);
    }
    struct ps_addr addr = {0};
    memcpy(addr.host, host, len);
    if (*rest == ':') {
        enum ps_status status = parse_port(text, rest + 1, &addr, err);
        if (status != PS_OK) {
            return status;
        }
    }
    *out = addr;
    return PS_OK;
}

bool
ps_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcasecmp(host, "localhost") == 0;
}
