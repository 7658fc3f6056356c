/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/src_file.c: files of this host, by path or pattern (see pathglob.h).
 * Key: the absolute path, as the pattern spells its folders. Version: "size-mtime" with the mtime
 * in nanoseconds; device and inode are compared during one open only, for they change when a file
 * system is mounted elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/source/beneath.h"
#include "agent/source/file_walk.h"
#include "agent/source/pathglob.h"
#include "agent/source/source.h"
#include "common/alloc.h"
#include "common/clock.h"

enum {
    VERSION_BYTES = 64,
    READ_AHEAD_BYTES = 128 * 1024, /* what the kernel reads ahead without being told */
};

struct source {
    struct source_env env;
    struct pathglob *glob;
    struct beneath *beneath;
    bool continuous;
    int64_t settle_ms;
    pthread_mutex_t lock;   /* the two below */
    struct file_walk *walk; /* stands behind `walked`, for the next page; NULL = none */
    struct ps_buf walked;
};

struct source_reader {
    const struct source *source;
    char *path;
    int fd;
    struct stat pinned;
    uint64_t at;
};

/* ---------------------------------------------------------------- life */

/* "file:/a", "file:///a", "/a", or relative to base_dir. Bytes are taken as they are: nothing is
 * percent-decoded, for a plain path is a URL here too. */
static char *
absolute_path(const char *url, const char *base_dir)
{
    const char *path = strncmp(url, "file:", 5) == 0 ? url + 5 : url;
    if (strncmp(path, "///", 3) == 0) {
        path += 2;
    }
    if (path[0] == '/' || base_dir == NULL) {
        return ps_xstrdup(path);
    }
    return ps_xasprintf("%s/%s", base_dir, path);
}

static enum ps_status
check_roots(const struct source *source, struct ps_error *err)
{
    for (size_t i = 0; i < pathglob_count(source->glob); i++) {
        const char *base = pathglob_base(source->glob, i);
        if (!beneath_covers(source->beneath, base)) {
            return ps_fail_code(err, PS_REFUSED, "outside_roots",
                                "%s lies in none of this agent's roots", base);
        }
    }
    return PS_OK;
}

static void
file_close(struct source *source)
{
    if (source != NULL) {
        file_walk_free(source->walk);
        ps_buf_fini(&source->walked);
        pathglob_free(source->glob);
        beneath_free(source->beneath);
        pthread_mutex_destroy(&source->lock);
        ps_free(source);
    }
}

static enum ps_status
file_open(const struct spec *spec, const struct source_env *env, struct source **out,
          struct ps_error *err)
{
    struct source *source = ps_xcalloc(1, sizeof *source);
    source->env = *env;
    source->continuous = spec_is(spec, "source.discover.mode", "continuous");
    source->settle_ms = spec_duration_ms(spec, "source.discover.settle");
    pthread_mutex_init(&source->lock, NULL);
    char *path = absolute_path(spec_str(spec, "source.url"), env->base_dir);
    enum ps_status status = pathglob_new(path, &source->glob, err);
    ps_free(path);
    if (status == PS_OK) {
        status = beneath_new(env->roots, env->root_count, &source->beneath, err);
    }
    if (status == PS_OK) {
        status = check_roots(source, err);
    }
    if (status != PS_OK) {
        file_close(source);
        return status;
    }
    *out = source;
    return PS_OK;
}

/* ---------------------------------------------------------------- discover */

static size_t
version_of(const struct stat *st, char out[VERSION_BYTES])
{
    int n = snprintf(out, VERSION_BYTES, "%" PRId64 "-%" PRId64 "%09ld", (int64_t)st->st_size,
                     (int64_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    return (size_t)n;
}

static int64_t
mtime_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

/* A file from the future (another host's clock) counts as settled, else it would wait for it. */
static bool
is_settled(const struct source *source, const struct stat *st)
{
    int64_t age_ms = ps_clock_wall_ms() - mtime_ms(st);
    return !source->continuous || age_ms >= source->settle_ms || age_ms < -source->settle_ms;
}

/* Is the path that the person wrote there at all? errno says why not. */
static bool
stat_path(const struct source *source, const char *path, struct stat *out)
{
    int fd = beneath_open(source->beneath, path, O_PATH);
    if (fd < 0) {
        return false;
    }
    bool found = fstat(fd, out) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return found;
}

static bool
parent_is_there(const struct source *source, const char *path)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    char *parent = ps_xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
    bool found = beneath_covers(source->beneath, parent) ? stat_path(source, parent, &st) : true;
    ps_free(parent);
    return found;
}

/* Why a path that is asked for by name cannot be had. */
static enum ps_status
fail_path(const struct source *source, const char *path, int errnum, struct ps_error *err)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
        if (parent_is_there(source, path)) {
            return ps_fail_code(err, PS_REFUSED, "source_missing", "no such file: %s", path);
        }
        return ps_fail_code(err, PS_REFUSED, "not_visible", "no such folder on this host: %s",
                            path);
    case EXDEV:
    case ELOOP:
        return ps_fail_code(err, PS_REFUSED, "outside_roots", "%s leads out of this agent's roots",
                            path);
    case EACCES:
    case EPERM:
        return ps_fail_code(err, PS_REFUSED, "not_visible", "may not read %s on this host", path);
    default:
        return ps_fail_errno(err, errnum, "open %s", path);
    }
}

static enum ps_status
check_literal(const struct source *source, const char *path, struct ps_error *err)
{
    struct stat st;
    if (!stat_path(source, path, &st)) {
        bool later = source->continuous && (errno == ENOENT || errno == ENOTDIR);
        return later ? PS_OK : fail_path(source, path, errno, err);
    }
    if (S_ISDIR(st.st_mode)) {
        return ps_fail_code(err, PS_REFUSED, "source_is_folder",
                            "%s is a folder: did you mean %s/*?", path,
                            strcmp(path, "/") == 0 ? "" : path);
    }
    if (!S_ISREG(st.st_mode)) {
        return ps_fail_code(err, PS_REFUSED, "source_not_regular", "%s is no regular file", path);
    }
    return PS_OK;
}

/* What the person named must be there: an empty listing would say "nothing to do". */
static enum ps_status
check_named(const struct source *source, struct ps_error *err)
{
    size_t missing = 0;
    size_t count = pathglob_count(source->glob);
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        const char *base = pathglob_base(source->glob, i);
        if (pathglob_is_literal(source->glob, i)) {
            enum ps_status status = check_literal(source, base, err);
            if (status != PS_OK) {
                return status;
            }
        } else if (!stat_path(source, base, &st)) {
            missing++;
        }
    }
    if (missing == count) {
        const char *base = pathglob_base(source->glob, 0);
        return ps_fail_code(err, PS_REFUSED, "not_visible", "no such folder on this host: %s",
                            base);
    }
    return PS_OK;
}

/* The walk that stands right behind `after`, if the last page left one; else a new one. */
static enum ps_status
take_walk(struct source *source, struct ps_span after, struct file_walk **out, struct ps_error *err)
{
    pthread_mutex_lock(&source->lock);
    struct file_walk *walk = source->walk;
    bool fits = walk != NULL && ps_span_eq(after, ps_buf_span(&source->walked));
    source->walk = NULL;
    pthread_mutex_unlock(&source->lock);
    if (fits) {
        *out = walk;
        return PS_OK;
    }
    file_walk_free(walk);
    enum ps_status status = check_named(source, err);
    if (status != PS_OK) {
        return status;
    }
    struct file_walk_env env = {
        .glob = source->glob, .beneath = source->beneath, .cancel = source->env.cancel};
    return file_walk_new(&env, after, out, err);
}

static void
keep_walk(struct source *source, struct file_walk *own_walk, struct ps_span behind)
{
    pthread_mutex_lock(&source->lock);
    struct file_walk *old = source->walk;
    source->walk = own_walk;
    ps_buf_clear(&source->walked);
    ps_buf_xappend(&source->walked, behind.ptr, behind.len);
    pthread_mutex_unlock(&source->lock);
    file_walk_free(old);
}

static enum ps_status
give(const struct file_walk_file *file, source_found_fn found, void *ctx, struct ps_error *err)
{
    char version[VERSION_BYTES];
    size_t version_len = version_of(&file->stat, version);
    struct source_object object = {
        .key = ps_span_str(file->path),
        .version = ps_span(version, version_len),
        .size_bytes = (uint64_t)file->stat.st_size,
        .mtime_ms = mtime_ms(&file->stat),
    };
    return found(ctx, &object, err);
}

static enum ps_status
file_discover(struct source *source, struct source_page *page, struct ps_error *err)
{
    struct file_walk *walk = NULL;
    struct file_walk_file file = {0};
    enum ps_status status = take_walk(source, page->after, &walk, err);
    bool end = false;
    uint64_t unsettled = 0;
    size_t given = 0;
    while (status == PS_OK && given < page->limit) {
        status = file_walk_next(walk, &file, &end, err);
        if (status != PS_OK || end) {
            break;
        }
        if (!is_settled(source, &file.stat)) {
            unsettled++;
            continue;
        }
        status = give(&file, page->found, page->ctx, err);
        given++;
    }
    if (status == PS_OK && !end && given > 0) {
        keep_walk(source, walk, ps_span_str(file.path));
        walk = NULL;
    }
    file_walk_free(walk);
    if (status == PS_OK) {
        page->last = end;
        page->unsettled = unsettled;
    }
    return status;
}

/* ---------------------------------------------------------------- read */

static void
file_close_object(struct source_reader *reader)
{
    if (reader != NULL) {
        if (reader->fd >= 0) {
            close(reader->fd);
        }
        ps_free(reader->path);
        ps_free(reader);
    }
}

static enum ps_status
fail_changed(const struct source_reader *reader, struct ps_error *err)
{
    return ps_fail_code(err, PS_BADDATA, "source_changed", "%s is not the version it was",
                        reader->path);
}

static enum ps_status
open_pinned(struct source_reader *reader, struct ps_span version, struct ps_error *err)
{
    /* Not blocking: a pipe of that name must not hang us before we see what it is. */
    reader->fd =
        beneath_open(reader->source->beneath, reader->path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
    if (reader->fd < 0) {
        return fail_path(reader->source, reader->path, errno, err);
    }
    if (fstat(reader->fd, &reader->pinned) != 0) {
        return ps_fail_errno(err, errno, "stat %s", reader->path);
    }
    char now[VERSION_BYTES];
    size_t now_len = version_of(&reader->pinned, now);
    if (!S_ISREG(reader->pinned.st_mode) || !ps_span_eq(version, ps_span(now, now_len))) {
        return fail_changed(reader, err);
    }
    if (reader->pinned.st_size > READ_AHEAD_BYTES) {
        (void)posix_fadvise(reader->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    return PS_OK;
}

static enum ps_status
file_open_object(struct source *source, struct ps_span key, struct ps_span version,
                 struct source_reader **out, struct ps_error *err)
{
    if (key.len == 0 || key.ptr[0] != '/' || memchr(key.ptr, '\0', key.len) != NULL) {
        return ps_fail_code(err, PS_REFUSED, "source_missing", "the key is no absolute path");
    }
    struct source_reader *reader = ps_xcalloc(1, sizeof *reader);
    reader->source = source;
    reader->path = ps_xstrndup((const char *)key.ptr, key.len);
    enum ps_status status = open_pinned(reader, version, err);
    if (status != PS_OK) {
        file_close_object(reader);
        return status;
    }
    *out = reader;
    return PS_OK;
}

static enum ps_status
file_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
          struct ps_error *err)
{
    uint64_t left = (uint64_t)reader->pinned.st_size - reader->at;
    size_t want = left < cap ? (size_t)left : cap;
    if (want == 0) {
        *out_n = 0;
        return PS_OK;
    }
    ssize_t n = -1;
    do {
        n = pread(reader->fd, out, want, (off_t)reader->at);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return ps_fail_errno(err, errno, "read %s at offset %" PRIu64, reader->path, reader->at);
    }
    if (n == 0) {
        return fail_changed(reader, err); /* it became shorter */
    }
    reader->at += (uint64_t)n;
    *out_n = (size_t)n;
    return PS_OK;
}

static enum ps_status
file_seek(struct source_reader *reader, uint64_t offset, struct ps_error *err)
{
    if (offset > (uint64_t)reader->pinned.st_size) {
        return ps_fail_code(err, PS_BADDATA, "source_changed",
                            "%s: offset %" PRIu64 " lies behind its end", reader->path, offset);
    }
    reader->at = offset;
    return PS_OK;
}

static enum ps_status
file_verify(struct source_reader *reader, struct ps_error *err)
{
    struct stat now;
    const struct stat *pinned = &reader->pinned;
    if (fstat(reader->fd, &now) != 0) {
        return ps_fail_errno(err, errno, "stat %s", reader->path);
    }
    bool same = now.st_dev == pinned->st_dev && now.st_ino == pinned->st_ino &&
                now.st_size == pinned->st_size && now.st_mtim.tv_sec == pinned->st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == pinned->st_mtim.tv_nsec;
    return same ? PS_OK : fail_changed(reader, err);
}

extern const struct source_ops src_file_ops;
const struct source_ops src_file_ops = {
    .scheme = "file",
    .help = "files of the agent's host: a path or a pattern with * ? [a-z] {a,b} **",
    .open = file_open,
    .close = file_close,
    .discover = file_discover,
    .open_object = file_open_object,
    .read = file_read,
    .seek = file_seek,
    .verify = file_verify,
    .close_object = file_close_object,
    .in_flight = 8, /* a cold disk or a network's */
};
