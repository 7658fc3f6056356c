/* SPDX-License-Identifier: Apache-2.0 */
/* Segments that outlive the process or the job that made them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/stage/stage_internal.h"
#include "common/alloc.h"
#include "common/failpoint.h"

static bool
ends_with(const char *name, const char *tail)
{
    size_t len = strlen(name);
    size_t tail_len = strlen(tail);
    return len >= tail_len && strcmp(name + len - tail_len, tail) == 0;
}

/* ---- the list; stage->lock */

static bool
is_before(const struct stage_segment_label *a, const struct stage_segment_label *b)
{
    /* Batch ids rise with the time of the cut: the oldest batch first. */
    int order = memcmp(a->id.id.b, b->id.id.b, PS_ID_BYTES);
    return order < 0 || (order == 0 && a->epoch < b->epoch);
}

static void
insert_locked(struct stage *stage, const struct stage_segment_label *label)
{
    if (stage->kept_count == stage->kept_cap) {
        stage->kept_cap = stage->kept_cap == 0 ? 16 : stage->kept_cap * 2;
        stage->kept = ps_xrealloc(stage->kept, stage->kept_cap * sizeof *stage->kept);
    }
    size_t at = stage->kept_count++;
    while (at > 0 && is_before(label, &stage->kept[at - 1])) {
        stage->kept[at] = stage->kept[at - 1];
        at--;
    }
    stage->kept[at] = *label;
    stage->kept_bytes += label->bytes;
}

static struct stage_segment_label
take_locked(struct stage *stage, size_t at)
{
    struct stage_segment_label label = stage->kept[at];
    memmove(&stage->kept[at], &stage->kept[at + 1],
            (--stage->kept_count - at) * sizeof *stage->kept);
    stage->kept_bytes -= label.bytes;
    return label;
}

static bool
find_locked(const struct stage *stage, struct batch_id id, size_t *out_at)
{
    for (size_t i = 0; i < stage->kept_count; i++) {
        if (ps_id_eq(stage->kept[i].id.id, id.id)) {
            *out_at = i;
            return true;
        }
    }
    return false;
}

static void
remove_locked(struct stage *stage, size_t at)
{
    char name[STAGE_SEGMENT_NAME_BYTES];
    struct stage_segment_label label = take_locked(stage, at);
    stage_segment_name(&label, name);
    stage->disk -= label.bytes;
    /* Left behind where this fails: the next open finds it, and it is asked about again. */
    (void)unlinkat(stage->dir_fd, name, 0);
}

bool
stage_kept_evict_locked(struct stage *stage)
{
    if (stage->kept_count == 0) {
        return false;
    }
    stage->discarded++;
    remove_locked(stage, 0);
    return true;
}

/* ---- opening */

/* Two lives of one batch hold the same rows: the later one stays. */
static void
drop_older_lives(struct stage *stage)
{
    for (size_t i = 0; i + 1 < stage->kept_count;) {
        if (ps_id_eq(stage->kept[i].id.id, stage->kept[i + 1].id.id)) {
            remove_locked(stage, i);
        } else {
            i++;
        }
    }
}

/* Damaged, or not to be read (a bad sector): it is extracted again, and must not keep a leaf from
 * starting. Short of descriptors or memory it may be read later. */
static bool
is_unusable(enum ps_status status)
{
    return status != PS_OK && status != PS_FULL;
}

/* from_fd: where the entry is; ours or another's, out of which it is moved. */
static enum ps_status
load_entry(struct stage *stage, int from_fd, const char *name, size_t *out_found,
           struct ps_error *err)
{
    bool is_sealed = ends_with(name, ".seg");
    if (!is_sealed && !ends_with(name, ".seg.tmp")) {
        return PS_OK;
    }
    struct stage_segment_label label = {0};
    enum ps_status status = is_sealed ? stage_segment_look(from_fd, name, &label, err) : PS_BADDATA;
    if (is_unusable(status)) {
        stage->discarded += is_sealed;
        bool gone = unlinkat(from_fd, name, 0) == 0 || errno == ENOENT;
        return gone ? PS_OK : ps_fail_errno(err, errno, "staging segment %s: remove", name);
    }
    if (status == PS_OK && from_fd != stage->dir_fd &&
        renameat(from_fd, name, stage->dir_fd, name) != 0) {
        status = ps_fail_errno(err, errno, "staging segment %s: move", name);
    }
    if (status == PS_OK) {
        insert_locked(stage, &label);
        stage->disk += label.bytes;
        ++*out_found;
    }
    return status;
}

static enum ps_status
load_folder(struct stage *stage, int from_fd, size_t *out_found, struct ps_error *err)
{
    int fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL) {
        enum ps_status failed = ps_fail_errno(err, errno, "list");
        if (fd >= 0) {
            close(fd);
        }
        return failed;
    }
    enum ps_status status = PS_OK;
    for (struct dirent *entry = readdir(listing); status == PS_OK && entry != NULL;
         entry = readdir(listing)) {
        status = load_entry(stage, from_fd, entry->d_name, out_found, err);
    }
    closedir(listing);
    drop_older_lives(stage);
    return status;
}

enum ps_status
stage_kept_load(struct stage *stage, const char *dir, struct ps_error *err)
{
    size_t found = 0;
    enum ps_status status = load_folder(stage, stage->dir_fd, &found, err);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "staging folder %s", dir);
}

enum ps_status
stage_kept_move_in(struct stage *stage, const char *dir, size_t *out_moved, struct ps_error *err)
{
    enum ps_status status = PS_OK;
    *out_moved = 0;
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return errno == ENOENT ? PS_OK : ps_fail_errno(err, errno, "staging folder %s: open", dir);
    }
    int lock_fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd < 0 || flock(lock_fd, LOCK_EX | LOCK_NB) != 0) {
        status = ps_fail_errno(err, errno, "staging folder %s: lock", dir);
    }
    pthread_mutex_lock(&stage->lock);
    if (status == PS_OK) {
        status = load_folder(stage, dir_fd, out_moved, err);
    }
    pthread_mutex_unlock(&stage->lock);
    if (status == PS_OK && *out_moved > 0 && fsync(stage->dir_fd) != 0) {
        status = ps_fail_errno(err, errno, "staging folder: fsync");
    }
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    close(dir_fd);
    return status == PS_OK ? PS_OK : ps_wrap(err, status, "staging folder %s", dir);
}

/* ---- using them */

size_t
stage_kept_list(struct stage *stage, struct stage_kept *out, size_t most)
{
    pthread_mutex_lock(&stage->lock);
    size_t count = stage->kept_count < most ? stage->kept_count : most;
    for (size_t i = 0; i < count; i++) {
        const struct stage_segment_label *label = &stage->kept[i];
        out[i] = (struct stage_kept){.id = label->id, .epoch = label->epoch, .bytes = label->bytes};
    }
    pthread_mutex_unlock(&stage->lock);
    return count;
}

bool
stage_kept_remove(struct stage *stage, struct batch_id id)
{
    size_t at = 0;
    pthread_mutex_lock(&stage->lock);
    bool found = find_locked(stage, id, &at);
    if (found) {
        remove_locked(stage, at);
    }
    pthread_mutex_unlock(&stage->lock);
    return found;
}

static enum ps_status
adopt(struct stage *stage, const struct stage_segment_label *label, struct stage_batch *batch,
      struct ps_buf *manifest, struct ps_error *err)
{
    struct stage_segment_totals totals = {0};
    enum ps_status status =
        stage_segment_open(stage->dir_fd, label, &batch->segment, &totals, manifest, err);
    if (status == PS_OK && manifest->len == 0) {
        status = ps_fail_code(err, PS_BADDATA, "stage_corrupt", "staging: without a manifest");
    }
    if (status == PS_OK && PS_FAILPOINT("stage.on_adopt")) {
        status = ps_fail_code(err, PS_BADDATA, "stage_corrupt", "staging: failpoint on adopt");
    }
    if (status != PS_OK) {
        return status;
    }
    batch->sealed = true;
    batch->ncols = stage_segment_ncols(batch->segment);
    batch->read_block.ncols = batch->ncols;
    batch->rows = totals.rows;
    batch->rejects = totals.rejects;
    batch->bytes = label->bytes;
    return ps_buf_append(&batch->manifest, manifest->ptr, manifest->len, err);
}

enum ps_status
stage_kept_take(struct stage *stage, struct batch_id id, struct stage_batch **out,
                struct ps_buf *manifest, struct ps_error *err)
{
    struct stage_segment_label label = {0};
    size_t at = 0;
    *out = NULL;
    pthread_mutex_lock(&stage->lock);
    bool found = find_locked(stage, id, &at);
    if (found) {
        label = take_locked(stage, at);
    }
    pthread_mutex_unlock(&stage->lock);
    if (!found) {
        return PS_OK;
    }
    struct stage_batch *batch = NULL;
    enum ps_status status = stage_batch_new(stage, id, label.epoch, 0, &batch, err);
    if (status == PS_OK) {
        batch->disk = label.bytes;
        status = adopt(stage, &label, batch, manifest, err);
    }
    if (status == PS_OK) {
        stage_batch_rewind(batch);
        *out = batch;
        return PS_OK;
    }
    pthread_mutex_lock(&stage->lock);
    insert_locked(stage, &label); /* whoever owns it, its bytes are counted once */
    if (batch != NULL) {
        batch->disk = 0;
    }
    if (is_unusable(status) && find_locked(stage, id, &at)) {
        stage->discarded++;
        remove_locked(stage, at);
    }
    pthread_mutex_unlock(&stage->lock);
    if (batch != NULL && batch->segment != NULL) {
        stage_segment_close(batch->segment);
        batch->segment = NULL;
    }
    stage_batch_free(batch);
    return status;
}

bool
stage_batch_keep(struct stage_batch *batch)
{
    if (batch == NULL || !stage_batch_is_stored(batch) || batch->manifest.len == 0) {
        stage_batch_free(batch);
        return false;
    }
    struct stage *stage = batch->stage;
    const struct stage_segment_label label = {
        .id = batch->id, .epoch = batch->epoch, .bytes = stage_segment_bytes(batch->segment)};
    pthread_mutex_lock(&stage->lock);
    /* The list counts what the file has, the batch counted what was put aside for it. */
    stage->disk += label.bytes;
    insert_locked(stage, &label);
    drop_older_lives(stage);
    pthread_mutex_unlock(&stage->lock);
    stage_segment_close(batch->segment);
    batch->segment = NULL;
    stage_batch_free(batch);
    return true;
}
