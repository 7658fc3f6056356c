/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/alloc.h"

enum { RACE_TRIES = 16 };

struct root {
    char *path; /* without a slash at its end; "" is the root folder */
    size_t len;
    int fd; /* -1: not there */
};

struct beneath {
    struct root *roots;
    size_t count;
    bool has_openat2;
};

static int
open_beneath_fd(int fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, fd, path, &how, sizeof how);
}

static void
probe_openat2(struct beneath *beneath)
{
    for (size_t i = 0; i < beneath->count; i++) {
        if (beneath->roots[i].fd >= 0) {
            int fd = open_beneath_fd(beneath->roots[i].fd, ".", O_PATH | O_DIRECTORY);
            beneath->has_openat2 = fd >= 0;
            if (fd >= 0) {
                close(fd);
            }
            return;
        }
    }
}

enum ps_status
beneath_new(const char *const *roots, size_t root_count, struct beneath **out, struct ps_error *err)
{
    struct beneath *beneath = ps_xcalloc(1, sizeof *beneath);
    beneath->roots = ps_xcalloc(root_count, sizeof *beneath->roots);
    for (size_t i = 0; i < root_count; i++) {
        if (roots[i][0] != '/') {
            beneath_free(beneath);
            return ps_fail_code(err, PS_REFUSED, "bad_root", "root %s is not an absolute path",
                                roots[i]);
        }
        struct root *root = &beneath->roots[beneath->count++];
        root->len = strlen(roots[i]);
        while (root->len > 0 && roots[i][root->len - 1] == '/') {
            root->len--;
        }
        root->path = ps_xstrndup(roots[i], root->len);
        root->fd = open(roots[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    probe_openat2(beneath);
    *out = beneath;
    return PS_OK;
}

void
beneath_free(struct beneath *beneath)
{
    if (beneath == NULL) {
        return;
    }
    for (size_t i = 0; i < beneath->count; i++) {
        if (beneath->roots[i].fd >= 0) {
            close(beneath->roots[i].fd);
        }
        ps_free(beneath->roots[i].path);
    }
    ps_free(beneath->roots);
    ps_free(beneath);
}

bool
beneath_has_roots(const struct beneath *beneath)
{
    return beneath->count > 0;
}

void
beneath_forget_openat2(struct beneath *beneath)
{
    beneath->has_openat2 = false;
}

/* The deepest root that the path's text lies in. */
static const struct root *
find_root(const struct beneath *beneath, const char *path)
{
    const struct root *best = NULL;
    for (size_t i = 0; i < beneath->count; i++) {
        const struct root *root = &beneath->roots[i];
        bool inside = strncmp(path, root->path, root->len) == 0 &&
                      (path[root->len] == '/' || path[root->len] == '\0');
        if (inside && (best == NULL || root->len > best->len)) {
            best = root;
        }
    }
    return best;
}

bool
beneath_covers(const struct beneath *beneath, const char *path)
{
    return beneath->count == 0 || find_root(beneath, path) != NULL;
}

/* Without openat2: one component after the other, no links, no "..". */
static int
open_stepwise(int root_fd, const char *path, int flags)
{
    int fd = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0) {
        char name[256];
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        bool last = path[len + strspn(path + len, "/")] == '\0';
        int saved = 0;
        if (len >= sizeof name) {
            saved = ENAMETOOLONG;
        } else if (len == 2 && path[0] == '.' && path[1] == '.') {
            saved = EXDEV;
        }
        int next = -1;
        if (saved == 0) {
            memcpy(name, len == 0 ? "." : path, len == 0 ? 1 : len);
            name[len == 0 ? 1 : len] = '\0';
            int how = last ? flags : O_PATH | O_DIRECTORY;
            next = openat(fd, name, how | O_NOFOLLOW | O_CLOEXEC);
            saved = errno;
        }
        close(fd);
        errno = saved;
        if (last || next < 0) {
            return next;
        }
        fd = next;
        path += len;
    }
    return -1;
}

int
beneath_open(const struct beneath *beneath, const char *path, int flags)
{
    if (beneath->count == 0) {
        return open(path, flags | O_CLOEXEC);
    }
    const struct root *root = find_root(beneath, path);
    if (root == NULL) {
        errno = EXDEV;
        return -1;
    }
    if (root->fd < 0) {
        errno = ENOENT;
        return -1;
    }
    const char *rest = path + root->len;
    rest += strspn(rest, "/");
    rest = *rest == '\0' ? "." : rest;
    if (!beneath->has_openat2) {
        return open_stepwise(root->fd, rest, flags);
    }
    int fd = -1;
    for (int i = 0; i < RACE_TRIES; i++) {
        fd = open_beneath_fd(root->fd, rest, flags);
        if (fd >= 0 || errno != EAGAIN) {
            break; /* EAGAIN: a rename somewhere made the kernel unsure */
        }
    }
    return fd;
}
