/* SPDX-License-Identifier: Apache-2.0 */
/* A library for LD_PRELOAD: reads and writes of files whose path holds PENSTOCK_SHORT_COUNTS move
 * fewer bytes than asked for at every third call, and are interrupted at every seventh, as POSIX
 * lets the system do. */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic unsigned calls;

/* How many of these bytes; SIZE_MAX: be interrupted instead. */
static size_t
cut(int fd, size_t bytes)
{
    const char *part = getenv("PENSTOCK_SHORT_COUNTS");
    char link[32];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = part == NULL ? -1 : readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return bytes;
    }
    path[length] = '\0';
    if (strstr(path, part) == NULL) {
        return bytes;
    }
    unsigned call = atomic_fetch_add(&calls, 1);
    if (call % 7 == 6) {
        errno = EINTR;
        return SIZE_MAX;
    }
    return call % 3 == 2 && bytes > 1 ? bytes / 2 : bytes;
}

#define CUT_OR_INTERRUPTED(fd, bytes)                                                              \
    (bytes) = cut(fd, bytes);                                                                      \
    if ((bytes) == SIZE_MAX) {                                                                     \
        return -1;                                                                                 \
    }

ssize_t
read(int fd, void *out, size_t bytes)
{
    CUT_OR_INTERRUPTED(fd, bytes)
    return syscall(SYS_read, fd, out, bytes);
}

ssize_t
write(int fd, const void *in, size_t bytes)
{
    CUT_OR_INTERRUPTED(fd, bytes)
    return syscall(SYS_write, fd, in, bytes);
}

ssize_t
pread64(int fd, void *out, size_t bytes, off64_t offset)
{
    CUT_OR_INTERRUPTED(fd, bytes)
    return syscall(SYS_pread64, fd, out, bytes, offset);
}

ssize_t
pread(int fd, void *out, size_t bytes, off_t offset)
{
    return pread64(fd, out, bytes, offset);
}

ssize_t
pwrite64(int fd, const void *in, size_t bytes, off64_t offset)
{
    CUT_OR_INTERRUPTED(fd, bytes)
    return syscall(SYS_pwrite64, fd, in, bytes, offset);
}

ssize_t
pwrite(int fd, const void *in, size_t bytes, off_t offset)
{
    return pwrite64(fd, in, bytes, offset);
}

/* The first part alone is a short count of all. */
ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    size_t bytes = count > 0 ? parts[0].iov_len : 0;
    size_t whole = bytes;
    CUT_OR_INTERRUPTED(fd, bytes)
    if (bytes != whole) {
        return syscall(SYS_pwrite64, fd, parts[0].iov_base, bytes, offset);
    }
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return pwritev64(fd, parts, count, offset);
}
