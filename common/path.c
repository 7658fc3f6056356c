/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

char *
ps_path_join(const char *folder, const char *name)
{
    if (name[0] == '/' || folder == NULL || folder[0] == '\0') {
        return ps_xstrdup(name);
    }
    size_t len = strlen(folder);
    return ps_xasprintf("%s%s%s", folder, folder[len - 1] == '/' ? "" : "/", name);
}

char *
ps_path_dirname(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return ps_xstrdup(".");
    }
    return slash == path ? ps_xstrdup("/") : ps_xstrndup(path, (size_t)(slash - path));
}

const char *
ps_path_basename(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Appends one part of a path to out, which holds an absolute path without a last slash ("" = /). */
static void
add_part(struct ps_buf *out, const char *part, size_t len)
{
    if (len == 0 || (len == 1 && part[0] == '.')) {
        return;
    }
    if (len == 2 && part[0] == '.' && part[1] == '.') {
        while (out->len > 0 && out->ptr[--out->len] != '/') {
        }
        return;
    }
    ps_buf_xappend(out, "/", 1);
    ps_buf_xappend(out, part, len);
}

char *
ps_path_absolute(const char *base, const char *path)
{
    char here[PATH_MAX];
    if (base == NULL) {
        base = getcwd(here, sizeof here) == NULL ? "/" : here;
    }
    char *joined = ps_path_join(base, path);
    struct ps_buf out = PS_BUF_INIT;
    for (const char *at = joined; *at != '\0';) {
        size_t len = strcspn(at, "/");
        add_part(&out, at, len);
        at += len + (at[len] == '/');
    }
    if (out.len == 0) {
        ps_buf_xappend(&out, "/", 1);
    }
    char *text = ps_xstrdup(ps_buf_str(&out));
    ps_buf_fini(&out);
    ps_free(joined);
    return text;
}

enum ps_status
ps_path_mkdirs(const char *path, struct ps_error *err)
{
    char *copy = ps_xstrdup(path);
    enum ps_status status = PS_OK;
    for (char *at = copy; status == PS_OK && *at != '\0';) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char kept = *at;
        *at = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST && errno != EISDIR) {
            status = ps_fail_errno(err, errno, "make folder %s", copy);
        }
        *at = kept;
    }
    struct stat found;
    if (status == PS_OK && (stat(copy, &found) != 0 || !S_ISDIR(found.st_mode))) {
        status = ps_fail(err, PS_REFUSED, "%s is not a folder", copy);
    }
    ps_free(copy);
    return status;
}

bool
ps_path_exists(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0;
}

/* Removes what is inside the folder at fd (which it closes). depth keeps the descent bounded. */
static enum ps_status
empty_folder(int fd, unsigned depth, struct ps_error *err)
{
    DIR *folder = fdopendir(fd);
    if (folder == NULL || depth == 0) {
        close(fd);
        return ps_fail(err, PS_REFUSED, "folder is nested too deep");
    }
    enum ps_status status = PS_OK;
    for (struct dirent *entry; status == PS_OK && (entry = readdir(folder)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            unlinkat(dirfd(folder), name, 0) == 0) {
            continue;
        }
        int inner = openat(dirfd(folder), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        status = inner < 0 ? ps_fail_errno(err, errno, "remove %s", name)
                           : empty_folder(inner, depth - 1, err);
        if (status == PS_OK && unlinkat(dirfd(folder), name, AT_REMOVEDIR) != 0) {
            status = ps_fail_errno(err, errno, "remove folder %s", name);
        }
    }
    closedir(folder);
    return status;
}

enum ps_status
ps_path_remove_tree(const char *path, struct ps_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? PS_OK : ps_fail_errno(err, errno, "remove %s", path);
    }
    enum ps_status status = empty_folder(fd, 64, err);
    if (status == PS_OK && rmdir(path) != 0) {
        status = ps_fail_errno(err, errno, "remove folder %s", path);
    }
    return status;
}

enum ps_status
ps_path_read(const char *path, size_t max_bytes, struct ps_buf *out, struct ps_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return ps_fail_code(err, PS_REFUSED, "missing", "%s does not exist", path);
    }
    if (fd < 0) {
        return ps_fail_errno(err, errno, "open %s", path);
    }
    enum ps_status status = PS_OK;
    size_t total = 0;
    for (ssize_t n = 1; status == PS_OK && n != 0;) {
        status = ps_buf_reserve(out, 65536, err);
        if (status != PS_OK) {
            break;
        }
        n = read(fd, out->ptr + out->len, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            status = ps_fail_errno(err, errno, "read %s", path);
            break;
        }
        out->len += (size_t)n;
        total += (size_t)n;
        if (total > max_bytes) {
            status = ps_fail(err, PS_REFUSED, "%s is longer than %zu bytes", path, max_bytes);
        }
    }
    close(fd);
    return status;
}

enum ps_status
ps_path_fsync_folder(const char *path, struct ps_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return ps_fail_errno(err, errno, "open folder %s", path);
    }
    enum ps_status status =
        fsync(fd) == 0 ? PS_OK : ps_fail_errno(err, errno, "fsync folder %s", path);
    close(fd);
    return status;
}

static enum ps_status
write_all(int fd, struct ps_span bytes, const char *path, struct ps_error *err)
{
    for (size_t at = 0; at < bytes.len;) {
        ssize_t n = write(fd, bytes.ptr + at, bytes.len - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return ps_fail_errno(err, errno, "write %s", path);
        }
        at += (size_t)n;
    }
    return fsync(fd) == 0 ? PS_OK : ps_fail_errno(err, errno, "fsync %s", path);
}

enum ps_status
ps_path_write(const char *path, struct ps_span bytes, struct ps_error *err)
{
    char *folder = ps_path_dirname(path);
    char *temporary = ps_xasprintf("%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    enum ps_status status =
        fd < 0 ? ps_fail_errno(err, errno, "make %s", temporary) : write_all(fd, bytes, path, err);
    if (fd >= 0) {
        close(fd);
    }
    if (status == PS_OK && rename(temporary, path) != 0) {
        status = ps_fail_errno(err, errno, "rename to %s", path);
    }
    if (status != PS_OK && fd >= 0) {
        unlink(temporary);
    }
    if (status == PS_OK) {
        status = ps_path_fsync_folder(folder, err);
    }
    ps_free(temporary);
    ps_free(folder);
    return status;
}

enum ps_status
ps_path_exe_folder(char **out, struct ps_error *err)
{
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len < 0) {
        return ps_fail_errno(err, errno, "read /proc/self/exe");
    }
    exe[len] = '\0';
    *out = ps_path_dirname(exe);
    return PS_OK;
}

enum ps_status
ps_path_runtime_folder(char **out, struct ps_error *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    /* Room for a socket's name within the 107 bytes of sun_path. */
    bool usable = base != NULL && base[0] == '/' && strlen(base) <= 60 && access(base, W_OK) == 0;
    char *folder = ps_xasprintf("%s/penstock-XXXXXX", usable ? base : "/tmp");
    if (mkdtemp(folder) == NULL) { /* mode 0700 */
        enum ps_status status = ps_fail_errno(err, errno, "make %s", folder);
        ps_free(folder);
        return status;
    }
    *out = folder;
    return PS_OK;
}

enum ps_status
ps_path_lock(const char *path, int *out_fd, struct ps_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return ps_fail_errno(err, errno, "open %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum ps_status status =
            errno == EWOULDBLOCK
                ? ps_fail_code(err, PS_REFUSED, "locked", "%s is in use by another process", path)
                : ps_fail_errno(err, errno, "lock %s", path);
        close(fd);
        return status;
    }
    *out_fd = fd;
    return PS_OK;
}
