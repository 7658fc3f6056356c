/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stage/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/stage/stage_internal.h"
#include "agent/stage/stage_reject.h"
#include "common/alloc.h"
#include "common/assert.h"
#include "common/failpoint.h"

enum {
    /* A block that one huge record has grown is not worth keeping. */
    FREE_BLOCK_CAP_MAX = 4 * BLOCK_TARGET_BYTES,
    REJECTS_FLUSH_BYTES = 256 * 1024,
    MANIFEST_FRAME_BYTES = 64,
};

static enum ps_status
make_folders(const char *dir, struct ps_error *err)
{
    char *path = ps_xstrdup(dir);
    enum ps_status status = PS_OK;
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL) {
            *slash = '\0';
        }
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            status = ps_fail_errno(err, errno, "staging folder %s: create", path);
            break;
        }
        if (slash == NULL) {
            break;
        }
        *slash = '/';
    }
    ps_free(path);
    return status;
}

static enum ps_status
take_folder(struct stage *stage, const char *dir, struct ps_error *err)
{
    enum ps_status status = make_folders(dir, err);
    if (status != PS_OK) {
        return status;
    }
    stage->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (stage->dir_fd < 0) {
        return ps_fail_errno(err, errno, "staging folder %s: open", dir);
    }
    stage->lock_fd = openat(stage->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (stage->lock_fd < 0) {
        return ps_fail_errno(err, errno, "staging folder %s: lock file", dir);
    }
    if (flock(stage->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return ps_fail_code(err, PS_REFUSED, "stage_locked",
                                "staging folder %s: in use by another process", dir);
        }
        return ps_fail_errno(err, errno, "staging folder %s: lock", dir);
    }
    return stage_kept_load(stage, dir, err);
}

enum ps_status
stage_open(const char *dir, const struct stage_limits *limits, struct stage **out,
           struct ps_error *err)
{
    struct stage *stage = ps_xcalloc(1, sizeof *stage);
    stage->limits = *limits;
    stage->dir_fd = -1;
    stage->lock_fd = -1;
    pthread_mutex_init(&stage->lock, NULL);
    enum ps_status status = take_folder(stage, dir, err);
    if (status != PS_OK) {
        stage_close(stage);
        return status;
    }
    *out = stage;
    return PS_OK;
}

void
stage_close(struct stage *stage)
{
    if (stage == NULL) {
        return;
    }
    PS_ASSERT(stage->open_batches == 0);
    for (size_t i = 0; i < stage->free_count; i++) {
        block_free(stage->free[i]);
    }
    if (stage->lock_fd >= 0) {
        close(stage->lock_fd);
    }
    if (stage->dir_fd >= 0) {
        close(stage->dir_fd);
    }
    pthread_mutex_destroy(&stage->lock);
    ps_free(stage->kept);
    ps_free(stage);
}

uint64_t
stage_memory_now(const struct stage *stage)
{
    struct stage *open = (struct stage *)(uintptr_t)stage;
    pthread_mutex_lock(&open->lock);
    uint64_t memory = open->memory;
    pthread_mutex_unlock(&open->lock);
    return memory;
}

struct stage_disk
stage_disk_now(struct stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    struct stage_disk disk = {.bytes = stage->disk,
                              .quota_bytes = stage->limits.quota_bytes,
                              .largest_bytes = stage->largest,
                              .kept_bytes = stage->kept_bytes,
                              .kept_count = stage->kept_count,
                              .discarded = stage->discarded};
    pthread_mutex_unlock(&stage->lock);
    return disk;
}

struct block *
stage_block_take(struct stage *stage, uint32_t ncols)
{
    struct block *block = NULL;
    pthread_mutex_lock(&stage->lock);
    if (stage->free_count > 0) {
        block = stage->free[--stage->free_count];
        stage->free_bytes -= block->cap;
    }
    pthread_mutex_unlock(&stage->lock);
    if (block == NULL) {
        return block_new(ncols);
    }
    block_clear(block, ncols);
    return block;
}

void
stage_block_give(struct stage *stage, struct block **own_block)
{
    struct block *block = *own_block;
    *own_block = NULL;
    if (block == NULL) {
        return;
    }
    bool kept = false;
    pthread_mutex_lock(&stage->lock);
    if (stage->free_count < STAGE_FREE_BLOCKS_MAX && block->cap <= FREE_BLOCK_CAP_MAX &&
        stage->memory + stage->free_bytes + block->cap <= stage->limits.memory_bytes) {
        stage->free[stage->free_count++] = block;
        stage->free_bytes += block->cap;
        kept = true;
    }
    pthread_mutex_unlock(&stage->lock);
    if (!kept) {
        block_free(block);
    }
}

/* ---- accounts */

static bool
memory_take(struct stage_batch *batch, uint64_t bytes)
{
    struct stage *stage = batch->stage;
    pthread_mutex_lock(&stage->lock);
    bool fits = stage->memory + bytes <= stage->limits.memory_bytes;
    if (fits) {
        stage->memory += bytes;
        batch->memory += bytes;
        /* Spare blocks never take the place of rows. */
        while (stage->free_count > 0 &&
               stage->memory + stage->free_bytes > stage->limits.memory_bytes) {
            struct block *spare = stage->free[--stage->free_count];
            stage->free_bytes -= spare->cap;
            block_free(spare);
        }
    }
    pthread_mutex_unlock(&stage->lock);
    return fits;
}

static void
memory_give_all(struct stage_batch *batch)
{
    pthread_mutex_lock(&batch->stage->lock);
    batch->stage->memory -= batch->memory;
    pthread_mutex_unlock(&batch->stage->lock);
    batch->memory = 0;
}

static enum ps_status
disk_take(struct stage_batch *batch, uint64_t bytes, struct ps_error *err)
{
    struct stage *stage = batch->stage;
    pthread_mutex_lock(&stage->lock);
    /* What is kept waits for a grant that may never come, and can be extracted again: it makes room
     * for a batch that nothing else will make room for. */
    while (stage->disk + bytes > stage->limits.quota_bytes &&
           stage->disk - stage->kept_bytes == batch->disk && stage_kept_evict_locked(stage)) {
    }
    bool fits = stage->disk + bytes <= stage->limits.quota_bytes;
    bool alone = stage->disk == batch->disk;
    if (fits) {
        stage->disk += bytes;
        batch->disk += bytes;
    }
    pthread_mutex_unlock(&stage->lock);
    if (!fits && alone) { /* waiting would make no room */
        return ps_fail_code(err, PS_REFUSED, "stage_too_small",
                            "staging: one batch needs more than the whole quota of %llu bytes: "
                            "make limits.batch_bytes smaller",
                            (unsigned long long)stage->limits.quota_bytes);
    }
    if (!fits) {
        return ps_fail_code(err, PS_FULL, "stage_quota",
                            "staging: the quota of %llu bytes on disk is used up",
                            (unsigned long long)stage->limits.quota_bytes);
    }
    return PS_OK;
}

/* ---- writing */

enum ps_status
stage_batch_new(struct stage *stage, struct batch_id id, uint64_t epoch, uint32_t ncols,
                struct stage_batch **out, struct ps_error *err)
{
    struct stage_batch *batch = ps_calloc(1, sizeof *batch);
    if (batch == NULL) {
        return ps_fail(err, PS_FULL, "staging: out of memory");
    }
    batch->stage = stage;
    batch->id = id;
    batch->epoch = epoch;
    batch->ncols = ncols;
    batch->read_block.ncols = ncols;
    pthread_mutex_lock(&stage->lock);
    stage->open_batches++;
    pthread_mutex_unlock(&stage->lock);
    *out = batch;
    return PS_OK;
}

static enum ps_status
flush_rejects(struct stage_batch *batch, struct ps_error *err)
{
    if (batch->reject_pending == 0) {
        return PS_OK;
    }
    enum ps_status status = stage_segment_put_rejects(
        batch->segment, ps_buf_span(&batch->reject_bytes), batch->reject_pending, err);
    ps_buf_clear(&batch->reject_bytes);
    batch->reject_pending = 0;
    return status;
}

static void
disk_give(struct stage_batch *batch, uint64_t bytes)
{
    pthread_mutex_lock(&batch->stage->lock);
    batch->stage->disk -= bytes;
    pthread_mutex_unlock(&batch->stage->lock);
    batch->disk -= bytes;
}

/* What the batch has in memory, into a segment of its own that is not sealed yet. The memory stays
 * the batch's. */
static enum ps_status
write_out(struct stage_batch *batch, struct stage_segment **out, uint64_t *out_bytes,
          struct ps_error *err)
{
    uint64_t bytes = 128 + batch->reject_bytes.len + BLOCK_HEADER_BYTES + batch->manifest.len;
    for (size_t i = 0; i < batch->count; i++) {
        bytes += batch->blocks[i]->len + BLOCK_HEADER_BYTES;
    }
    enum ps_status status = disk_take(batch, bytes, err);
    if (status != PS_OK) {
        return status;
    }
    struct stage_segment *segment = NULL;
    status = stage_segment_create(batch->stage->dir_fd, batch->id, batch->epoch, batch->ncols,
                                  &segment, err);
    for (size_t i = 0; status == PS_OK && i < batch->count; i++) {
        status = stage_segment_put_block(segment, batch->blocks[i], err);
    }
    if (status == PS_OK && batch->reject_pending > 0) {
        status = stage_segment_put_rejects(segment, ps_buf_span(&batch->reject_bytes),
                                           batch->reject_pending, err);
    }
    if (status != PS_OK) {
        stage_segment_remove(segment);
        disk_give(batch, bytes);
        return status;
    }
    *out = segment;
    *out_bytes = bytes;
    return PS_OK;
}

/* From here on this batch lives on disk. */
static void
leave_memory(struct stage_batch *batch, struct stage_segment *segment)
{
    batch->segment = segment;
    memory_give_all(batch);
    for (size_t i = 0; i < batch->count; i++) {
        stage_block_give(batch->stage, &batch->blocks[i]);
    }
    batch->count = 0;
    ps_buf_fini(&batch->reject_bytes);
    batch->reject_pending = 0;
}

static enum ps_status
spill(struct stage_batch *batch, struct ps_error *err)
{
    struct stage_segment *segment = NULL;
    uint64_t bytes = 0;
    enum ps_status status = write_out(batch, &segment, &bytes, err);
    if (status == PS_OK) {
        leave_memory(batch, segment);
    }
    return status;
}

static enum ps_status
keep_block(struct stage_batch *batch, struct block **own_block, struct ps_error *err)
{
    if (batch->count == batch->cap) {
        size_t cap = batch->cap == 0 ? 16 : batch->cap * 2;
        struct block **blocks = ps_realloc(batch->blocks, cap * sizeof *blocks);
        if (blocks == NULL) {
            return ps_fail(err, PS_FULL, "staging: out of memory");
        }
        batch->blocks = blocks;
        batch->cap = cap;
    }
    batch->blocks[batch->count++] = *own_block;
    *own_block = NULL;
    return PS_OK;
}

enum ps_status
stage_batch_append(struct stage_batch *batch, struct block **own_block, struct ps_error *err)
{
    PS_ASSERT(!batch->sealed);
    struct block *block = *own_block;
    PS_ASSERT(block->ncols == batch->ncols);
    uint64_t rows = block->rows;
    uint64_t bytes = block->len;
    enum ps_status status = PS_OK;
    if (batch->segment == NULL && memory_take(batch, block->cap)) {
        status = keep_block(batch, own_block, err);
    } else {
        if (batch->segment == NULL) {
            status = spill(batch, err);
        }
        if (status == PS_OK) {
            status = disk_take(batch, bytes + BLOCK_HEADER_BYTES, err);
        }
        if (status == PS_OK) {
            status = stage_segment_put_block(batch->segment, block, err);
        }
        if (status == PS_OK) {
            stage_block_give(batch->stage, own_block);
        }
    }
    if (status == PS_OK) {
        batch->rows += rows;
        batch->bytes += bytes;
    }
    return status;
}

enum ps_status
stage_batch_reject(struct stage_batch *batch, const struct stage_reject *reject,
                   struct ps_error *err)
{
    PS_ASSERT(!batch->sealed);
    size_t before = batch->reject_bytes.len;
    enum ps_status status = stage_reject_encode(&batch->reject_bytes, reject, err);
    if (status != PS_OK) {
        return status;
    }
    uint64_t bytes = batch->reject_bytes.len - before;
    batch->reject_pending++;
    if (batch->segment == NULL && !memory_take(batch, bytes)) {
        status = spill(batch, err); /* which counts these bytes too */
    } else if (batch->segment != NULL) {
        status = disk_take(batch, bytes, err);
        if (status == PS_OK && batch->reject_bytes.len >= REJECTS_FLUSH_BYTES) {
            status = flush_rejects(batch, err);
        }
    }
    if (status == PS_OK) {
        batch->rejects++;
    } else if (batch->reject_bytes.len > before) {
        batch->reject_bytes.len = before;
        batch->reject_pending--;
    }
    return status;
}

enum ps_status
stage_batch_describe(struct stage_batch *batch, struct ps_span manifest, struct ps_error *err)
{
    PS_ASSERT(!batch->sealed);
    ps_buf_clear(&batch->manifest);
    return ps_buf_append(&batch->manifest, manifest.ptr, manifest.len, err);
}

static enum ps_status
seal_segment(struct stage_batch *batch, struct stage_segment *segment, struct ps_error *err)
{
    const struct stage_segment_totals totals = {
        .rows = batch->rows, .rejects = batch->rejects, .manifest = ps_buf_span(&batch->manifest)};
    enum ps_status status = stage_segment_seal(segment, &totals, err);
    if (status == PS_OK) {
        pthread_mutex_lock(&batch->stage->lock);
        uint64_t bytes = stage_segment_bytes(segment);
        batch->stage->largest = bytes > batch->stage->largest ? bytes : batch->stage->largest;
        pthread_mutex_unlock(&batch->stage->lock);
    }
    return status;
}

enum ps_status
stage_batch_seal(struct stage_batch *batch, struct ps_error *err)
{
    PS_ASSERT(!batch->sealed);
    if (batch->segment != NULL) {
        enum ps_status status = flush_rejects(batch, err);
        if (status == PS_OK) {
            status = disk_take(batch, batch->manifest.len + MANIFEST_FRAME_BYTES, err);
        }
        if (status == PS_OK) {
            status = seal_segment(batch, batch->segment, err);
        }
        if (status != PS_OK) {
            return status;
        }
    }
    batch->sealed = true;
    if (PS_FAILPOINT("stage.after_seal")) {
        return ps_fail(err, PS_AGAIN, "staging: failpoint after seal");
    }
    stage_batch_rewind(batch);
    return PS_OK;
}

enum ps_status
stage_batch_store(struct stage_batch *batch, struct ps_error *err)
{
    PS_ASSERT(batch->sealed);
    if (batch->segment != NULL) {
        return PS_OK;
    }
    if (batch->unkeepable) {
        return ps_fail(err, PS_REFUSED, "staging: its segment could not be written");
    }
    struct stage_segment *segment = NULL;
    uint64_t bytes = 0;
    enum ps_status status = write_out(batch, &segment, &bytes, err);
    if (status == PS_OK) {
        status = seal_segment(batch, segment, err);
        if (status != PS_OK) {
            stage_segment_remove(segment);
            disk_give(batch, bytes);
        }
    }
    if (status != PS_OK) {
        batch->unkeepable = status != PS_FULL;
        return status;
    }
    leave_memory(batch, segment);
    stage_batch_rewind(batch);
    return PS_OK;
}

bool
stage_batch_is_stored(const struct stage_batch *batch)
{
    return batch->sealed && batch->segment != NULL;
}

/* ---- reading */

void
stage_batch_rewind(struct stage_batch *batch)
{
    batch->next = 0;
    batch->block_at = (struct stage_segment_at){0};
    batch->reject_at = (struct stage_segment_at){0};
    batch->reject_rest = ps_span(NULL, 0);
    batch->reject_started = false;
}

enum ps_status
stage_batch_next(struct stage_batch *batch, const struct block **out_block, struct ps_error *err)
{
    PS_ASSERT(batch->sealed);
    if (batch->segment == NULL) {
        *out_block = batch->next < batch->count ? batch->blocks[batch->next++] : NULL;
        return PS_OK;
    }
    bool more = false;
    enum ps_status status =
        stage_segment_next_block(batch->segment, &batch->block_at, &batch->read_block, &more, err);
    if (status == PS_OK) {
        *out_block = more ? &batch->read_block : NULL;
    }
    return status;
}

enum ps_status
stage_batch_next_reject(struct stage_batch *batch, struct stage_reject *out, bool *out_more,
                        struct ps_error *err)
{
    PS_ASSERT(batch->sealed);
    if (batch->reject_rest.len == 0) {
        bool more = false;
        if (batch->segment == NULL) {
            more = !batch->reject_started && batch->reject_bytes.len > 0;
            batch->reject_rest = more ? ps_buf_span(&batch->reject_bytes) : ps_span(NULL, 0);
            batch->reject_started = true;
        } else {
            enum ps_status status = stage_segment_next_rejects(batch->segment, &batch->reject_at,
                                                               &batch->read_rejects, &more, err);
            if (status != PS_OK) {
                return status;
            }
            batch->reject_rest = more ? ps_buf_span(&batch->read_rejects) : ps_span(NULL, 0);
        }
        if (!more) {
            *out_more = false;
            return PS_OK;
        }
    }
    *out_more = true;
    return stage_reject_decode(&batch->reject_rest, out, err);
}

uint64_t
stage_batch_rows(const struct stage_batch *batch)
{
    return batch->rows;
}

uint64_t
stage_batch_rejects(const struct stage_batch *batch)
{
    return batch->rejects;
}

uint32_t
stage_batch_columns(const struct stage_batch *batch)
{
    return batch->ncols;
}

uint64_t
stage_batch_bytes(const struct stage_batch *batch)
{
    return batch->bytes;
}

void
stage_batch_free(struct stage_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    struct stage *stage = batch->stage;
    memory_give_all(batch);
    for (size_t i = 0; i < batch->count; i++) {
        stage_block_give(stage, &batch->blocks[i]);
    }
    stage_segment_remove(batch->segment);
    ps_free(batch->blocks);
    ps_free(batch->read_block.bytes);
    ps_buf_fini(&batch->reject_bytes);
    ps_buf_fini(&batch->read_rejects);
    ps_buf_fini(&batch->manifest);
    pthread_mutex_lock(&stage->lock);
    stage->disk -= batch->disk;
    stage->open_batches--;
    pthread_mutex_unlock(&stage->lock);
    ps_free(batch);
}
