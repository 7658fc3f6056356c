/* SPDX-License-Identifier: Apache-2.0 */
/* One thread fills and seals batches, another reads and frees them, over one stage with a budget so
 * small that half of the blocks go to disk: blocks are reused across threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/stage/stage.h"
#include "common/queue.h"

enum { BATCHES = 40, ROWS = 20000 };

static struct stage *stage;
static struct ps_queue *sealed;

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
    if (stage_batch_seal(batch, err) != PS_OK) {
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

int
main(void)
{
    char dir[] = "/tmp/penstock-race-XXXXXX";
    struct ps_error err;
    struct stage_limits limits = {.memory_bytes = 512 * 1024, .quota_bytes = 1 << 30};
    pthread_t filler;
    void *item = NULL;
    uint64_t rows = 0;
    if (mkdtemp(dir) == NULL || stage_open(dir, &limits, &stage, &err) != PS_OK) {
        fail(&err);
    }
    sealed = ps_queue_new(2);
    pthread_create(&filler, NULL, fill, NULL);
    while (ps_queue_take(sealed, PS_WAIT_FOREVER, &item) == PS_OK) {
        rows += read_rows(item);
        stage_batch_free(item);
    }
    pthread_join(filler, NULL);
    ps_queue_free(sealed);
    stage_close(stage);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    int cleaned = system(command);
    return rows == (uint64_t)BATCHES * ROWS && cleaned == 0 ? 0 : 1;
}
