/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/api/api_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/addr.h"

enum { BACKLOG = 256 };

static const char unix_prefix[] = "unix:";

static const char *
unix_path(const char *http)
{
    size_t len = sizeof unix_prefix - 1;
    return strncmp(http, unix_prefix, len) == 0 ? http + len : NULL;
}

enum ps_status
api_listen_check(const char *http, struct ps_error *err)
{
    struct ps_addr addr;
    const char *path = unix_path(http);
    if (path != NULL) {
        if (path[0] == '\0') {
            return ps_fail(err, PS_REFUSED, "http \"%s\": expected unix:PATH", http);
        }
        if (strlen(path) >= API_LISTEN_PATH_BYTES) {
            return ps_fail(err, PS_REFUSED,
                           "http \"%s\": the socket's path has %zu bytes, at most %d work; put it "
                           "in a short private folder, for example below XDG_RUNTIME_DIR",
                           http, strlen(path), API_LISTEN_PATH_BYTES - 1);
        }
        return PS_OK;
    }
    enum ps_status status = ps_addr_parse(http, &addr, err);
    if (status != PS_OK) {
        return ps_wrap(err, status, "http");
    }
    if (!addr.port_given) {
        return ps_fail(err, PS_REFUSED, "http \"%s\": expected host:port or unix:PATH", http);
    }
    if (!ps_host_is_loopback(addr.host)) {
        return ps_fail(err, PS_REFUSED,
                       "http \"%s\": there is no authentication yet, so only loopback addresses "
                       "(127.0.0.1, [::1], localhost) and unix:PATH are served",
                       http);
    }
    return PS_OK;
}

/* A socket file that refuses connections is left over from a process that is gone. */
static void
remove_stale(const struct sockaddr_un *addr)
{
    struct stat found;
    if (lstat(addr->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED) {
        (void)unlink(addr->sun_path);
    }
    close(fd);
}

static enum ps_status
open_unix(const char *path, struct api_listen *out, struct ps_error *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path) + 1);
    remove_stale(&addr);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return ps_fail_errno(err, errno, "http unix:%s", path);
    }
    /* The mode before listen(2): nobody can connect in between. */
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0 ||
        chmod(path, S_IRUSR | S_IWUSR) != 0 || listen(fd, BACKLOG) != 0) {
        enum ps_status status = ps_fail_errno(err, errno, "http unix:%s", path);
        close(fd);
        return status;
    }
    out->fd = fd;
    out->is_unix = true;
    snprintf(out->address, sizeof out->address, "unix:%s", path);
    return PS_OK;
}

static socklen_t
fill_address(const struct ps_addr *addr, struct sockaddr_storage *out)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    const char *host = strcasecmp(addr->host, "localhost") == 0 ? "127.0.0.1" : addr->host;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(addr->port);
        return sizeof *v6;
    }
    (void)inet_pton(AF_INET, host, &v4->sin_addr);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(addr->port);
    return sizeof *v4;
}

static enum ps_status
open_tcp(const char *http, struct api_listen *out, struct ps_error *err)
{
    struct ps_addr addr;
    struct sockaddr_storage storage;
    int one = 1;
    enum ps_status status = ps_addr_parse(http, &addr, err);
    if (status != PS_OK) {
        return status;
    }
    socklen_t len = fill_address(&addr, &storage);
    int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return ps_fail_errno(err, errno, "http %s", http);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&storage, len) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&storage, &len) != 0) {
        status = ps_fail_errno(err, errno, "http %s", http);
        close(fd);
        return status;
    }
    bool v6 = storage.ss_family == AF_INET6;
    uint16_t port = v6 ? ((struct sockaddr_in6 *)&storage)->sin6_port
                       : ((struct sockaddr_in *)&storage)->sin_port;
    out->fd = fd;
    out->is_unix = false;
    snprintf(out->address, sizeof out->address, v6 ? "http://[%s]:%u" : "http://%s:%u", addr.host,
             ntohs(port));
    return PS_OK;
}

enum ps_status
api_listen_open(const char *http, struct api_listen *out, struct ps_error *err)
{
    enum ps_status status = api_listen_check(http, err);
    if (status != PS_OK) {
        return status;
    }
    const char *path = unix_path(http);
    return path != NULL ? open_unix(path, out, err) : open_tcp(http, out, err);
}

void
api_listen_close(struct api_listen *listen)
{
    if (listen->fd < 0) {
        return;
    }
    if (listen->is_unix) {
        (void)unlink(unix_path(listen->address));
    }
    close(listen->fd);
    listen->fd = -1;
}

bool
api_listen_host_allowed(const char *host)
{
    struct ps_addr addr;
    return ps_addr_parse(host, &addr, NULL) == PS_OK && ps_host_is_loopback(addr.host);
}
