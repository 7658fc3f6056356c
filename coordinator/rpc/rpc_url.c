/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/rpc/rpc_url.h"

#include <string.h>

#include "common/addr.h"

static enum ps_status
check_ipc(const char *url, const char *path, struct ps_error *err)
{
    size_t len = strlen(path);
    if (len == 0) {
        return ps_fail(err, PS_REFUSED, "rpc \"%s\": expected ipc://PATH", url);
    }
    if (len >= RPC_URL_PATH_BYTES) {
        return ps_fail(err, PS_REFUSED,
                       "rpc \"%s\": the socket's path has %zu bytes, at most %d work; put it in a "
                       "short private folder, for example below XDG_RUNTIME_DIR",
                       url, len, RPC_URL_PATH_BYTES - 1);
    }
    return PS_OK;
}

static enum ps_status
check_tcp(const char *url, const char *address, struct ps_error *err)
{
    struct ps_addr addr;
    enum ps_status status = ps_addr_parse(address, &addr, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "rpc");
    }
    if (!addr.port_given) {
        return ps_fail(err, PS_REFUSED, "rpc \"%s\": expected tcp://host:port", url);
    }
    if (!ps_host_is_loopback(addr.host)) {
        return ps_fail(err, PS_REFUSED,
                       "rpc \"%s\": agents do not authenticate yet, so only loopback addresses "
                       "(127.0.0.1, [::1], localhost) and ipc:// are served",
                       url);
    }
    return PS_OK;
}

enum ps_status
rpc_url_check(const char *url, struct ps_error *err)
{
    static const char ipc[] = "ipc://";
    static const char tcp[] = "tcp://";
    if (strncmp(url, ipc, sizeof ipc - 1) == 0) {
        return check_ipc(url, url + sizeof ipc - 1, err);
    }
    if (strncmp(url, tcp, sizeof tcp - 1) == 0) {
        return check_tcp(url, url + sizeof tcp - 1, err);
    }
    return ps_fail(err, PS_REFUSED, "rpc \"%s\": expected tcp://127.0.0.1:PORT or ipc://PATH", url);
}
