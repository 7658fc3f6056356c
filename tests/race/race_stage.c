/* SPDX-License-Identifier: Apache-2.0 */
/* One thread fills and seals batches, another reads and frees them, over one stage with a budget so
 * small that half of the blocks go to disk: blocks are reused across threads. Then one stores
 * batches and lets them be kept, while two others take what is kept, or remove it, and list it
 * meanwhile. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/stage/stage.h"
#include "common/queue.h"

enum { BATCHES = 40, ROWS = 20000, LISTED = 8 };

static struct stage *stage;
static struct ps_queue *sealed;
static _Atomic bool all_kept;
static _Atomic uint64_t rows_seen;

static int
fail(const struct ps_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static struct stage_batch *
fill_batch(struct ps_error *err)
{
    struct stage_batch *batch = NULL;
    if (stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 1, &batch, err) != PS_OK) {
        fail(err);
    }
    struct block *block = stage_block_take(stage, 1);
    for (int64_t i = 0; i < ROWS; i++) {
        struct row_meta meta = {.offset = (uint64_t)i, .length = 1};
        struct block_row row;
        if (block_row_begin(block, &meta, &row) != PS_OK ||
            block_put_int(block, &row, i) != PS_OK) {
            exit(1);
        }
        block_row_end(block, &row);
        if (block_is_full(block)) {
            if (stage_batch_append(batch, &block, err) != PS_OK) {
                fail(err);
            }
            block = stage_block_take(stage, 1);
        }
    }
    if (block->rows > 0 && stage_batch_append(batch, &block, err) != PS_OK) {
        fail(err);
    }
    stage_block_give(stage, &block);
    if (stage_batch_describe(batch, ps_span_str("a manifest"), err) != PS_OK ||
        stage_batch_seal(batch, err) != PS_OK) {
        fail(err);
    }
    return batch;
}

static void *
fill(void *ctx)
{
    struct ps_error err;
    (void)ctx;
    for (int i = 0; i < BATCHES; i++) {
        if (ps_queue_put(sealed, fill_batch(&err), PS_WAIT_FOREVER) != PS_OK) {
            exit(1);
        }
    }
    ps_queue_close(sealed);
    return NULL;
}

static uint64_t
read_rows(struct stage_batch *batch)
{
    struct ps_error err;
    const struct block *block = NULL;
    uint64_t rows = 0;
    stage_batch_rewind(batch);
    do {
        if (stage_batch_next(batch, &block, &err) != PS_OK) {
            fail(&err);
        }
        rows += block == NULL ? 0 : block->rows;
    } while (block != NULL);
    return rows;
}

static void
share(void)
{
    pthread_t filler;
    void *item = NULL;
    sealed = ps_queue_new(2);
    pthread_create(&filler, NULL, fill, NULL);
    while (ps_queue_take(sealed, PS_WAIT_FOREVER, &item) == PS_OK) {
        rows_seen += read_rows(item);
        stage_batch_free(item);
    }
    pthread_join(filler, NULL);
    ps_queue_free(sealed);
}

static void *
keep(void *ctx)
{
    struct ps_error err;
    (void)ctx;
    for (int i = 0; i < BATCHES; i++) {
        struct stage_batch *batch = fill_batch(&err);
        if (stage_batch_store(batch, &err) != PS_OK) {
            fail(&err);
        }
        if (!stage_batch_keep(batch)) {
            exit(1);
        }
    }
    atomic_store(&all_kept, true);
    return NULL;
}

/* One of the two takes it; a third of them is removed unread. */
static void
use_kept(struct batch_id id)
{
    struct ps_error err;
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    if (id.id.b[PS_ID_BYTES - 1] % 3 == 0) {
        rows_seen += stage_kept_remove(stage, id) ? ROWS : 0;
        return;
    }
    if (stage_kept_take(stage, id, &batch, &manifest, &err) != PS_OK) {
        fail(&err);
    }
    if (batch != NULL) {
        rows_seen += read_rows(batch);
    }
    stage_batch_free(batch);
    ps_buf_fini(&manifest);
}

static void *
use(void *ctx)
{
    struct stage_kept kept[LISTED];
    (void)ctx;
    for (;;) {
        bool last = atomic_load(&all_kept);
        size_t count = stage_kept_list(stage, kept, LISTED);
        if (count == 0 && last) {
            return NULL;
        }
        if (stage_disk_now(stage).kept_bytes > stage_disk_now(stage).quota_bytes) {
            exit(1);
        }
        for (size_t i = 0; i < count; i++) {
            use_kept(kept[i].id);
        }
    }
}

int
main(void)
{
    char dir[] = "/tmp/penstock-race-XXXXXX";
    struct ps_error err;
    struct stage_limits limits = {.memory_bytes = 512 * 1024, .quota_bytes = 1 << 30};
    pthread_t threads[3];
    if (mkdtemp(dir) == NULL || stage_open(dir, &limits, &stage, &err) != PS_OK) {
        fail(&err);
    }
    share();
    pthread_create(&threads[0], NULL, keep, NULL);
    pthread_create(&threads[1], NULL, use, NULL);
    pthread_create(&threads[2], NULL, use, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    bool empty = stage_disk_now(stage).bytes == 0 && stage_memory_now(stage) == 0;
    stage_close(stage);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    int cleaned = system(command);
    return rows_seen == (uint64_t)2 * BATCHES * ROWS && empty && cleaned == 0 ? 0 : 1;
}
