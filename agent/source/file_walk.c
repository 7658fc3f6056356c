/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/file_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buf.h"

/* Names below are kept as they sort: a folder's ends with '/', for its paths go on with one. */
struct level {
    size_t path_len; /* of walk->path: this folder with its '/' */
    struct pathglob_at at;
    DIR *dir;     /* NULL where only literals are possible */
    char **names; /* sorted; [next, count) are still to come */
    size_t count;
    size_t next;
    size_t cap;
    bool more;   /* the folder holds names behind the last one here */
    char *floor; /* names up to this one are done; NULL = none */
};

struct file_walk {
    struct file_walk_env env;
    struct ps_buf after;
    struct ps_buf path;
    struct level *levels;
    size_t depth;
    size_t cap;
    uint64_t skipped;
};

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
drop_names(struct level *level, size_t from)
{
    for (size_t i = from; i < level->count; i++) {
        ps_free(level->names[i]);
    }
    level->count = from;
}

static void
level_fini(struct level *level)
{
    drop_names(level, level->next);
    ps_free(level->names);
    ps_free(level->floor);
    pathglob_at_fini(&level->at);
    if (level->dir != NULL) {
        closedir(level->dir);
    }
    *level = (struct level){0};
}

/* Does everything at or below this name sort at or before the cursor? */
static bool
is_past(const struct file_walk *walk, const struct level *level, const char *name)
{
    const uint8_t *after = walk->after.ptr;
    size_t after_len = walk->after.len;
    size_t base = level->path_len;
    size_t len = strlen(name);
    size_t common = base < after_len ? base : after_len;
    int order = common == 0 ? 0 : memcmp(walk->path.ptr, after, common);
    if (order != 0 || base >= after_len) {
        return order < 0;
    }
    size_t rest = after_len - base;
    order = memcmp(name, after + base, len < rest ? len : rest);
    if (order != 0) {
        return order < 0;
    }
    bool folder = name[len - 1] == '/';
    return len < rest ? !folder : len == rest && !folder;
}

/* Sorted, without repeats, at most max_names. */
static void
cut_names(struct level *level, size_t max_names)
{
    if (level->count > 1) {
        qsort(level->names, level->count, sizeof *level->names, compare_names);
    }
    size_t to = 0;
    for (size_t i = 0; i < level->count; i++) {
        if (to > 0 && strcmp(level->names[to - 1], level->names[i]) == 0) {
            ps_free(level->names[i]);
        } else {
            level->names[to++] = level->names[i];
        }
    }
    level->count = to;
    if (to > max_names) {
        drop_names(level, max_names);
        level->more = true;
    }
}

static void
add_name(struct file_walk *walk, struct level *level, const char *name, bool folder)
{
    /* Literals are few, and there is no folder to read the rest from. */
    size_t max = level->dir == NULL ? SIZE_MAX / 2 : walk->env.max_names;
    char *copy = ps_xasprintf("%s%s", name, folder ? "/" : "");
    bool done = level->floor != NULL && strcmp(copy, level->floor) <= 0;
    bool too_far = level->more && level->count >= max && strcmp(copy, level->names[max - 1]) > 0;
    if (done || too_far || is_past(walk, level, copy)) {
        ps_free(copy);
        return;
    }
    if (level->count == level->cap) {
        level->cap = level->cap == 0 ? 64 : level->cap * 2;
        level->names = ps_xrealloc(level->names, level->cap * sizeof *level->names);
    }
    level->names[level->count++] = copy;
    if (level->count >= 2 * max) {
        cut_names(level, max);
    }
}

/* What a folder's entry is, links followed where that is allowed. False: nothing for us. */
static bool
look(struct file_walk *walk, const struct level *level, const char *name, struct stat *out,
     bool *out_link)
{
    bool roots = beneath_has_roots(walk->env.beneath);
    *out_link = false;
    if (level->dir != NULL) {
        if (fstatat(dirfd(level->dir), name, out, AT_SYMLINK_NOFOLLOW) != 0) {
            return false;
        }
        *out_link = S_ISLNK(out->st_mode);
        if (!*out_link) {
            return true;
        }
        if (!roots) {
            return fstatat(dirfd(level->dir), name, out, 0) == 0;
        }
    }
    struct ps_buf path = PS_BUF_INIT;
    ps_buf_xappend(&path, walk->path.ptr, level->path_len);
    ps_buf_xprintf(&path, "%s", name);
    int fd = beneath_open(walk->env.beneath, ps_buf_str(&path), O_PATH);
    ps_buf_fini(&path);
    if (fd < 0) {
        return false;
    }
    bool found = fstat(fd, out) == 0 && !S_ISLNK(out->st_mode);
    close(fd);
    return found;
}

static void
add_entry(struct file_walk *walk, struct level *level, const struct dirent *entry)
{
    const struct pathglob *glob = walk->env.glob;
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return;
    }
    bool as_file = pathglob_file(glob, &level->at, name);
    bool as_folder = pathglob_enters(glob, &level->at, name, false);
    bool link = entry->d_type == DT_LNK;
    bool folder = entry->d_type == DT_DIR;
    bool file = entry->d_type == DT_REG;
    if (!as_file && !as_folder) {
        return;
    }
    if (link || entry->d_type == DT_UNKNOWN) {
        struct stat st;
        if (!look(walk, level, name, &st, &link)) {
            walk->skipped++;
            return;
        }
        folder = S_ISDIR(st.st_mode);
        file = S_ISREG(st.st_mode);
    }
    if (folder && as_folder && pathglob_enters(glob, &level->at, name, link)) {
        add_name(walk, level, name, true);
    } else if (file && as_file) {
        add_name(walk, level, name, false);
    } else if (!folder && !file) {
        walk->skipped++;
    }
}

static bool
is_canceled(const struct file_walk *walk)
{
    return walk->env.cancel != NULL && atomic_load_explicit(walk->env.cancel, memory_order_relaxed);
}

/* The next names of a level, from its folder. */
static enum ps_status
read_names(struct file_walk *walk, struct level *level, struct ps_error *err)
{
    level->more = false;
    rewinddir(level->dir);
    for (;;) {
        if (is_canceled(walk)) {
            return ps_fail(err, PS_CANCELED, "canceled");
        }
        errno = 0;
        const struct dirent *entry = readdir(level->dir);
        if (entry == NULL) {
            break;
        }
        add_entry(walk, level, entry);
    }
    if (errno != 0) {
        return ps_fail_errno(err, errno, "read folder %.*s", (int)level->path_len,
                             ps_buf_str(&walk->path));
    }
    cut_names(level, walk->env.max_names);
    return PS_OK;
}

static void
add_literals(struct file_walk *walk, struct level *level)
{
    bool is_file = false;
    const char *name = NULL;
    for (size_t i = 0;; i++) {
        name = pathglob_literal(walk->env.glob, &level->at, i, &is_file);
        if (name == NULL) {
            break;
        }
        add_name(walk, level, name, !is_file);
    }
    cut_names(level, SIZE_MAX);
}

static enum ps_status
open_folder(struct file_walk *walk, struct level *level, bool *out_gone, struct ps_error *err)
{
    const char *path = ps_buf_str(&walk->path);
    int fd = beneath_open(walk->env.beneath, path, O_RDONLY | O_DIRECTORY);
    *out_gone = fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
    if (*out_gone) {
        return PS_OK;
    }
    if (fd < 0 && (errno == EACCES || errno == EXDEV || errno == EPERM)) {
        return ps_fail_code(err, PS_REFUSED, errno == EXDEV ? "outside_roots" : "not_visible",
                            "read folder %s: %s", path, strerror(errno));
    }
    if (fd < 0) {
        return ps_fail_errno(err, errno, "read folder %s", path);
    }
    level->dir = fdopendir(fd);
    if (level->dir == NULL) {
        int saved = errno;
        close(fd);
        return ps_fail_errno(err, saved, "read folder %s", path);
    }
    return PS_OK;
}

/* Goes into the folder that walk->path names (with its '/'); takes over *own_at. */
static enum ps_status
push_level(struct file_walk *walk, struct pathglob_at *own_at, struct ps_error *err)
{
    if (walk->depth == walk->cap) {
        walk->cap = walk->cap == 0 ? 16 : walk->cap * 2;
        walk->levels = ps_xrealloc(walk->levels, walk->cap * sizeof *walk->levels);
    }
    struct level *level = &walk->levels[walk->depth++];
    *level = (struct level){.path_len = walk->path.len, .at = *own_at};
    *own_at = (struct pathglob_at){0};
    if (pathglob_only_literals(walk->env.glob, &level->at)) {
        add_literals(walk, level);
        return PS_OK;
    }
    if (walk->depth > PATHGLOB_MAX_COMPONENTS) {
        return ps_fail_code(err, PS_REFUSED, "too_deep", "folders more than %d deep at %s",
                            PATHGLOB_MAX_COMPONENTS, ps_buf_str(&walk->path));
    }
    bool gone = false;
    enum ps_status status = open_folder(walk, level, &gone, err);
    return status != PS_OK || gone ? status : read_names(walk, level, err);
}

enum ps_status
file_walk_new(const struct file_walk_env *env, struct ps_span after, struct file_walk **out,
              struct ps_error *err)
{
    struct file_walk *walk = ps_xcalloc(1, sizeof *walk);
    walk->env = *env;
    walk->env.max_names = env->max_names == 0 ? FILE_WALK_NAMES : env->max_names;
    ps_buf_xappend(&walk->after, after.ptr, after.len);
    ps_buf_xappend(&walk->path, "/", 1);
    struct pathglob_at at;
    pathglob_start(env->glob, &at);
    enum ps_status status = push_level(walk, &at, err);
    if (status != PS_OK) {
        file_walk_free(walk);
        return status;
    }
    *out = walk;
    return PS_OK;
}

static enum ps_status
enter_folder(struct file_walk *walk, const char *name, struct ps_error *err)
{
    const struct level *level = &walk->levels[walk->depth - 1];
    size_t len = strlen(name) - 1;
    char *bare = ps_xstrndup(name, len);
    struct stat st;
    bool link = false;
    struct pathglob_at at = {0};
    /* Looked at again: the name was read a while ago, and ** must not follow a link. */
    if (level->dir == NULL || (look(walk, level, bare, &st, &link) && S_ISDIR(st.st_mode))) {
        pathglob_enter(walk->env.glob, &level->at, bare, link, &at);
    }
    ps_free(bare);
    if (at.count == 0) {
        pathglob_at_fini(&at);
        return PS_OK;
    }
    ps_buf_xappend(&walk->path, name, len + 1);
    return push_level(walk, &at, err);
}

/* The next name of the innermost folder that has one; NULL at the end. The caller frees it. */
static enum ps_status
take_name(struct file_walk *walk, char **out_name, struct ps_error *err)
{
    *out_name = NULL;
    while (walk->depth > 0) {
        struct level *level = &walk->levels[walk->depth - 1];
        walk->path.len = level->path_len;
        if (level->next == level->count && level->more) {
            level->next = 0;
            level->count = 0;
            enum ps_status status = read_names(walk, level, err);
            if (status != PS_OK) {
                return status;
            }
        }
        if (level->next < level->count) {
            *out_name = level->names[level->next++];
            ps_free(level->floor);
            level->floor = ps_xstrdup(*out_name);
            return PS_OK;
        }
        level_fini(level);
        walk->depth--;
    }
    return PS_OK;
}

enum ps_status
file_walk_next(struct file_walk *walk, struct file_walk_file *out, bool *out_end,
               struct ps_error *err)
{
    for (;;) {
        char *name = NULL;
        enum ps_status status = take_name(walk, &name, err);
        *out_end = status == PS_OK && name == NULL;
        if (status != PS_OK || name == NULL) {
            return status;
        }
        bool link = false;
        bool found = false;
        if (name[strlen(name) - 1] == '/') {
            status = enter_folder(walk, name, err);
        } else {
            const struct level *level = &walk->levels[walk->depth - 1];
            found = look(walk, level, name, &out->stat, &link) && S_ISREG(out->stat.st_mode);
            walk->skipped += found ? 0 : 1;
            ps_buf_xprintf(&walk->path, "%s", name);
        }
        ps_free(name);
        if (status != PS_OK) {
            return status;
        }
        if (found) {
            out->path = ps_buf_str(&walk->path);
            return PS_OK;
        }
    }
}

uint64_t
file_walk_skipped(const struct file_walk *walk)
{
    return walk->skipped;
}

void
file_walk_free(struct file_walk *walk)
{
    if (walk == NULL) {
        return;
    }
    while (walk->depth > 0) {
        level_fini(&walk->levels[--walk->depth]);
    }
    ps_free(walk->levels);
    ps_buf_fini(&walk->path);
    ps_buf_fini(&walk->after);
    ps_free(walk);
}
