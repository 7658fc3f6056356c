/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz_segment.c: any bytes as a kept segment that a leaf finds when it starts. It is
 * used or gone, whatever it says of its lengths; what is used can be read to its end or gives
 * PS_BADDATA. Checksums would hide all else from the fuzzer: bit 0 of the first byte lets them be
 * put right, bit 1 the numbers of rows and rejects too. */
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/stage/stage.h"
#include "agent/stage/stage_segment.h"
#include "common/alloc.h"
#include "common/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    RIGHT_SUMS = 1,
    RIGHT_COUNTS = 2,
    HEADER_BYTES = 64,
    END_BYTES = 24,
    COLUMNS_MOST = 64,
    SLACK_BYTES = 1 << 20,
};

static const struct batch_id id = {.id = {.b = {1, 2, 3, 4, 5, 6, 0x77, 8, 0x89}}};
static char dir[] = "/tmp/penstock-fuzz-XXXXXX";
static char path[sizeof dir + STAGE_SEGMENT_NAME_BYTES + 1];

static void
remove_dir(void)
{
    char lock[sizeof dir + 8];
    snprintf(lock, sizeof lock, "%s/lock", dir);
    (void)unlink(path);
    (void)unlink(lock);
    (void)rmdir(dir);
}

static void
make_dir(void)
{
    char name[STAGE_SEGMENT_NAME_BYTES];
    const struct stage_segment_label label = {.id = id, .epoch = 1};
    if (path[0] == '\0') {
        PS_ASSERT(mkdtemp(dir) != NULL);
        stage_segment_name(&label, name);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        PS_ASSERT(atexit(remove_dir) == 0);
    }
}

static void
put(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t
get(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

static uint32_t
get_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

/* Frames as far as their lengths are true. */
static void
right_frames(uint8_t *bytes, size_t size, bool counts)
{
    uint64_t rows = 0, rejects = 0, heads = 0;
    uint32_t frames = 0;
    for (size_t at = HEADER_BYTES; size - at >= BLOCK_HEADER_BYTES;) {
        uint8_t *head = bytes + at;
        uint8_t *body = head + BLOCK_HEADER_BYTES;
        uint64_t len = get(head + 16);
        if (len > size - at - BLOCK_HEADER_BYTES) {
            return;
        }
        bool is_end = memcmp(head, "PSEN", 4) == 0;
        if (is_end && len == END_BYTES) {
            put(head + 8, frames);
            put(body + 16, heads);
            if (counts) {
                put(body, rows);
                put(body + 8, rejects);
            }
        }
        put(head + 24, XXH3_64bits(body, (size_t)len));
        if (is_end) {
            return;
        }
        if (memcmp(head, "PSRJ", 4) == 0) {
            rejects += get_u32(head + 8);
        } else if (memcmp(head, "PSMF", 4) != 0) {
            rows += get_u32(head + 12);
        }
        frames++;
        heads = XXH3_64bits_withSeed(head, BLOCK_HEADER_BYTES, heads);
        at += BLOCK_HEADER_BYTES + (size_t)len;
    }
}

static void
right(uint8_t *bytes, size_t size, bool counts)
{
    if (size < HEADER_BYTES) {
        return;
    }
    memcpy(bytes + 16, id.id.b, PS_ID_BYTES);
    put(bytes + 32, 1);
    put(bytes + 56, XXH3_64bits(bytes, 56));
    right_frames(bytes, size, counts);
}

static void
write_file(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    PS_ASSERT(bytes != NULL && fd >= 0);
    memcpy(bytes, data, size);
    if (data[0] & RIGHT_SUMS) {
        right(bytes + 1, size - 1, (data[0] & RIGHT_COUNTS) != 0);
    }
    PS_ASSERT(write(fd, bytes + 1, size - 1) == (ssize_t)(size - 1));
    close(fd);
    free(bytes);
}

static void
read_block(const struct block *block, struct cell *cells)
{
    struct ps_error err = {0};
    struct block_cursor cursor;
    bool more = block->ncols <= COLUMNS_MOST;
    block_cursor_init(&cursor, block);
    while (more) {
        struct row_meta meta;
        enum ps_status status = block_cursor_next(&cursor, &meta, cells, &more, &err);
        PS_ASSERT(status == PS_OK || status == PS_BADDATA);
        more = more && status == PS_OK;
    }
}

static void
read_all(struct stage_batch *batch)
{
    struct ps_error err = {0};
    struct cell cells[COLUMNS_MOST];
    const struct block *block = NULL;
    uint64_t rows = 0;
    bool more = true;
    do {
        /* What was checked once is as it was. */
        PS_ASSERT(stage_batch_next(batch, &block, &err) == PS_OK);
        if (block != NULL) {
            rows += block->rows;
            read_block(block, cells);
        }
    } while (block != NULL);
    PS_ASSERT(rows == stage_batch_rows(batch));
    while (more) {
        struct stage_reject reject;
        enum ps_status status = stage_batch_next_reject(batch, &reject, &more, &err);
        PS_ASSERT(status == PS_OK || status == PS_BADDATA);
        more = more && status == PS_OK;
    }
}

/* Nothing is asked for that the file has not room for. */
static bool
refuse_none(void *ctx, size_t bytes)
{
    PS_ASSERT(bytes <= 4 * *(const size_t *)ctx + SLACK_BYTES);
    return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct stage_limits limits = {.memory_bytes = 1 << 20, .quota_bytes = 1 << 30};
    struct stage *stage = NULL;
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    struct ps_error err = {0};
    if (size == 0) {
        return 0;
    }
    make_dir();
    write_file(data, size);
    uint64_t before = ps_alloc_bytes_now();
    ps_alloc_set_fault(refuse_none, &size);
    PS_ASSERT(stage_open(dir, &limits, &stage, &err) == PS_OK);
    enum ps_status status = stage_kept_take(stage, id, &batch, &manifest, &err);
    PS_ASSERT(status == PS_OK || (status == PS_BADDATA && batch == NULL && err.text[0] != '\0'));
    if (batch != NULL) {
        PS_ASSERT(manifest.len > 0 && manifest.len < size);
        read_all(batch);
        stage_batch_free(batch);
    }
    PS_ASSERT(access(path, F_OK) != 0 && stage_disk_now(stage).bytes == 0);
    stage_close(stage);
    ps_buf_fini(&manifest);
    ps_alloc_set_fault(NULL, NULL);
    PS_ASSERT(ps_alloc_bytes_now() == before);
    return 0;
}
