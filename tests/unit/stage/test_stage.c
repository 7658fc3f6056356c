/* SPDX-License-Identifier: Apache-2.0 */
/* Rows and rejects come back as they went in, from memory and from disk; a damaged segment is
 * noticed; the quota and the folder's lock hold. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/stage/stage.h"

static char dir[64];
static struct ps_error err;

static void
make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/ps-stage-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void
remove_dir(void)
{
    DIR *listing = opendir(dir);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    closedir(listing);
    rmdir(dir);
}

TestSuite(stage, .init = make_dir, .fini = remove_dir);

static size_t
count_files(const char *tail)
{
    size_t count = 0;
    DIR *listing = opendir(dir);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        size_t len = strlen(entry->d_name);
        count += len > strlen(tail) && strcmp(entry->d_name + len - strlen(tail), tail) == 0;
    }
    closedir(listing);
    return count;
}

static struct stage *
open_stage(uint64_t memory, uint64_t quota)
{
    struct stage_limits limits = {.memory_bytes = memory, .quota_bytes = quota};
    struct stage *stage = NULL;
    cr_assert_eq(stage_open(dir, &limits, &stage, &err), PS_OK, "%s", err.text);
    return stage;
}

static enum ps_status
append_rows(struct stage *stage, struct stage_batch *batch, int first, int count)
{
    struct block *block = stage_block_take(stage, 2);
    for (int i = first; i < first + count; i++) {
        struct row_meta meta = {.offset = (uint64_t)i * 10, .length = 10, .line = (uint64_t)i + 1};
        struct block_row row;
        char text[600];
        int len = snprintf(text, sizeof text, "%0*d", 1 + i % 500, i);
        cr_assert_eq(block_row_begin(block, &meta, &row), PS_OK);
        cr_assert_eq(block_put_int(block, &row, i), PS_OK);
        cr_assert_eq(block_put_text(block, &row, (const uint8_t *)text, (size_t)len), PS_OK);
        block_row_end(block, &row);
    }
    enum ps_status status = stage_batch_append(batch, &block, &err);
    stage_block_give(stage, &block);
    return status;
}

static void
add_reject(struct stage_batch *batch, int i)
{
    char raw[64];
    snprintf(raw, sizeof raw, "bad,%d", i);
    struct stage_reject reject = {.range_index = (uint32_t)i,
                                  .offset = (uint64_t)i * 7,
                                  .length = 6,
                                  .line = 3,
                                  .column = ps_span_str("b"),
                                  .code = ps_span_str("type"),
                                  .reason = ps_span_str("not a number"),
                                  .raw = ps_span_str(raw)};
    cr_assert_eq(stage_batch_reject(batch, &reject, &err), PS_OK, "%s", err.text);
}

static void
check(struct stage_batch *batch, int rows, int rejects)
{
    int seen = 0;
    for (;;) {
        const struct block *block = NULL;
        cr_assert_eq(stage_batch_next(batch, &block, &err), PS_OK, "%s", err.text);
        if (block == NULL) {
            break;
        }
        struct block_cursor cursor;
        block_cursor_init(&cursor, block);
        for (;;) {
            struct row_meta meta;
            struct cell cells[2];
            bool more = false;
            cr_assert_eq(block_cursor_next(&cursor, &meta, cells, &more, &err), PS_OK);
            if (!more) {
                break;
            }
            cr_assert_eq(cells[0].integer, seen);
            cr_assert_eq(meta.offset, (uint64_t)seen * 10);
            cr_assert_geq((int)cells[1].len, 1 + seen % 500);
            seen++;
        }
    }
    cr_assert_eq(seen, rows);
    int bad = 0;
    for (;;) {
        struct stage_reject reject;
        bool more = false;
        cr_assert_eq(stage_batch_next_reject(batch, &reject, &more, &err), PS_OK, "%s", err.text);
        if (!more) {
            break;
        }
        char raw[64];
        snprintf(raw, sizeof raw, "bad,%d", bad);
        cr_assert_eq(reject.range_index, (uint32_t)bad);
        cr_assert_eq(reject.offset, (uint64_t)bad * 7);
        cr_assert(ps_span_eq(reject.raw, ps_span_str(raw)));
        cr_assert(ps_span_eq(reject.reason, ps_span_str("not a number")));
        bad++;
    }
    cr_assert_eq(bad, rejects);
    cr_assert_eq(stage_batch_rows(batch), (uint64_t)rows);
    cr_assert_eq(stage_batch_rejects(batch), (uint64_t)rejects);
}

static void
round_trip(uint64_t memory, size_t segments)
{
    struct stage *stage = open_stage(memory, 1 << 30);
    struct stage_batch *batch = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 3, 2, &batch, &err), PS_OK);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(append_rows(stage, batch, i * 1000, 1000), PS_OK, "%s", err.text);
        add_reject(batch, i);
    }
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK, "%s", err.text);
    cr_assert_eq(count_files(".seg"), segments);
    cr_assert_eq(count_files(".tmp"), 0);
    cr_assert_leq(stage_memory_now(stage), memory);
    check(batch, 20000, 20);
    stage_batch_rewind(batch);
    check(batch, 20000, 20);
    stage_batch_free(batch);
    cr_assert_eq(stage_memory_now(stage), 0);
    cr_assert_eq(count_files(".seg"), 0);
    stage_close(stage);
}

Test(stage, memory)
{
    round_trip(64 << 20, 0);
}

Test(stage, spills_in_the_middle)
{
    round_trip(2 << 20, 1);
}

Test(stage, disk_from_the_first_block)
{
    round_trip(0, 1);
}

Test(stage, empty_batch)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct stage_batch *batch = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &batch, &err), PS_OK);
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK);
    check(batch, 0, 0);
    stage_batch_free(batch);
    stage_close(stage);
}

Test(stage, only_rejects_on_disk)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct stage_batch *batch = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &batch, &err), PS_OK);
    for (int i = 0; i < 10; i++) {
        add_reject(batch, i);
    }
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK);
    check(batch, 0, 10);
    stage_batch_free(batch);
    stage_close(stage);
}

Test(stage, quota_is_full_and_the_caller_keeps_its_block)
{
    struct stage *stage = open_stage(0, 100000);
    struct stage_batch *batch = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &batch, &err), PS_OK);
    cr_assert_eq(append_rows(stage, batch, 0, 100), PS_OK, "%s", err.text);
    struct stage_batch *other = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &other, &err), PS_OK);
    cr_assert_eq(append_rows(stage, other, 0, 10), PS_OK, "%s", err.text);
    cr_assert_eq(append_rows(stage, batch, 0, 1000), PS_FULL, "room may come back");
    cr_assert_str_eq(err.code, "stage_quota");
    stage_batch_free(other);
    cr_assert_eq(append_rows(stage, batch, 0, 1000), PS_REFUSED, "alone, it never will");
    cr_assert_str_eq(err.code, "stage_too_small");
    stage_batch_free(batch);
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &batch, &err), PS_OK);
    cr_assert_eq(append_rows(stage, batch, 0, 100), PS_OK, "room comes back: %s", err.text);
    stage_batch_free(batch);
    stage_close(stage);
}

Test(stage, one_owner_and_no_garbage)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct stage_limits limits = {.memory_bytes = 1, .quota_bytes = 1};
    struct stage *second = NULL;
    cr_assert_eq(stage_open(dir, &limits, &second, &err), PS_REFUSED);
    cr_assert_str_eq(err.code, "stage_locked");
    stage_close(stage);
    char path[128];
    snprintf(path, sizeof path, "%s/01234567-89ab-7def-8123-456789abcdef.1.seg", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof path, "%s/01234567-89ab-7def-8123-456789abcdef.1.seg.tmp", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    stage = open_stage(0, 1 << 20);
    cr_assert_eq(count_files(".seg"), 0);
    cr_assert_eq(count_files(".tmp"), 0);
    stage_close(stage);
}

static struct batch_id
make_kept(struct stage *stage, int rows, bool store)
{
    struct stage_batch *batch = NULL;
    struct batch_id id = {ps_id_new()};
    cr_assert_eq(stage_batch_new(stage, id, 7, 2, &batch, &err), PS_OK);
    cr_assert_eq(append_rows(stage, batch, 0, rows), PS_OK, "%s", err.text);
    add_reject(batch, 0);
    cr_assert_eq(stage_batch_describe(batch, ps_span_str("a manifest"), &err), PS_OK);
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK, "%s", err.text);
    if (store) {
        cr_assert_not(stage_batch_is_stored(batch));
        cr_assert_eq(stage_batch_store(batch, &err), PS_OK, "%s", err.text);
        check(batch, rows, 1);
    }
    cr_assert(stage_batch_is_stored(batch));
    cr_assert(stage_batch_keep(batch));
    return id;
}

static void
take_and_check(struct stage *stage, struct batch_id id, int rows)
{
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    cr_assert_eq(stage_kept_take(stage, id, &batch, &manifest, &err), PS_OK, "%s", err.text);
    cr_assert_not_null(batch);
    cr_assert(ps_span_eq(ps_buf_span(&manifest), ps_span_str("a manifest")));
    cr_assert_eq(stage_batch_columns(batch), 2);
    check(batch, rows, 1);
    stage_batch_free(batch);
    ps_buf_fini(&manifest);
}

Test(stage, what_is_kept_is_there_for_a_later_process)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct batch_id spilled = make_kept(stage, 50, false);
    stage_close(stage);
    stage = open_stage(32 << 20, 1 << 20);
    struct batch_id stored = make_kept(stage, 80, true);
    cr_assert_eq(stage_memory_now(stage), 0, "storing it gave its memory back");
    stage_close(stage);
    stage = open_stage(32 << 20, 1 << 20);
    struct stage_kept kept[4];
    cr_assert_eq(stage_kept_list(stage, kept, 4), 2);
    cr_assert_eq(kept[0].epoch, 7);
    cr_assert_eq(stage_disk_now(stage).kept_count, 2);
    cr_assert_eq(stage_disk_now(stage).bytes, kept[0].bytes + kept[1].bytes);
    take_and_check(stage, spilled, 50);
    take_and_check(stage, stored, 80);
    cr_assert_eq(stage_disk_now(stage).bytes, 0);
    cr_assert_eq(count_files(".seg"), 0, "what was loaded is gone");
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    cr_assert_eq(stage_kept_take(stage, stored, &batch, &manifest, &err), PS_OK);
    cr_assert_null(batch, "nobody has it any more");
    stage_close(stage);
}

Test(stage, a_batch_without_a_manifest_is_not_kept)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct stage_batch *batch = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &batch, &err), PS_OK);
    cr_assert_eq(append_rows(stage, batch, 0, 3), PS_OK);
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK);
    cr_assert_not(stage_batch_keep(batch));
    cr_assert_eq(count_files(".seg"), 0);
    stage_close(stage);
}

/* Every bit that is wrong in a kept segment, and every byte that is missing, is found before a row
 * of it is used; it is removed. */
Test(stage, every_damage_to_a_kept_segment_is_found)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct batch_id id = make_kept(stage, 3, false);
    stage_close(stage);
    char text[PS_ID_TEXT_BYTES], path[128], copy[128], other[128];
    snprintf(path, sizeof path, "%s/%s.7.seg", dir, ps_id_text(id.id, text));
    snprintf(copy, sizeof copy, "%s/whole", dir);
    cr_assert_eq(rename(path, copy), 0);
    struct stat st;
    cr_assert_eq(stat(copy, &st), 0);
    for (off_t at = 0; at < 2 * st.st_size + 2; at++) {
        int fd = -1;
        uint8_t bytes[4096];
        int from = open(copy, O_RDONLY);
        ssize_t len = read(from, bytes, sizeof bytes);
        close(from);
        cr_assert_eq(len, st.st_size);
        if (at < st.st_size) {
            bytes[at] ^= 0x20;
        } else if (at < 2 * st.st_size) {
            len = at - st.st_size; /* cut short */
        } else if (at == 2 * st.st_size) {
            bytes[len++] = 0; /* something follows */
        }
        fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        cr_assert_eq(write(fd, bytes, (size_t)len), len);
        close(fd);
        stage = open_stage(0, 1 << 20);
        struct stage_batch *batch = NULL;
        struct ps_buf manifest = PS_BUF_INIT;
        enum ps_status status = stage_kept_take(stage, id, &batch, &manifest, &err);
        if (at == 2 * st.st_size + 1) {
            cr_assert_eq(status, PS_OK);
            cr_assert_not_null(batch, "whole, it is used");
        } else {
            cr_assert_null(batch, "byte %ld", (long)at);
            cr_assert_eq(count_files(".seg"), 0, "byte %ld: %s", (long)at, err.text);
            cr_assert_eq(stage_disk_now(stage).bytes, 0);
            cr_assert_eq(stage_disk_now(stage).discarded, 1);
        }
        stage_batch_free(batch);
        ps_buf_fini(&manifest);
        stage_close(stage);
    }
    /* Under another batch's name it is nobody's. */
    snprintf(other, sizeof other, "%s/01234567-89ab-7def-8123-456789abcdef.7.seg", dir);
    cr_assert_eq(rename(copy, other), 0);
    stage = open_stage(0, 1 << 20);
    cr_assert_eq(count_files(".seg"), 0);
    stage_close(stage);
}

/* One that is there and cannot be opened (here a link that leads nowhere) must not keep a leaf from
 * starting; one that has gone meanwhile is not kept. */
Test(stage, what_cannot_be_read_is_not_kept)
{
    char path[128];
    snprintf(path, sizeof path, "%s/01234567-89ab-7def-8123-456789abcdef.7.seg", dir);
    cr_assert_eq(symlink("nowhere", path), 0);
    struct stage *stage = open_stage(0, 1 << 20);
    cr_assert_eq(count_files(".seg"), 0);
    cr_assert_eq(stage_disk_now(stage).discarded, 1);
    struct batch_id id = make_kept(stage, 3, false);
    char text[PS_ID_TEXT_BYTES];
    snprintf(path, sizeof path, "%s/%s.7.seg", dir, ps_id_text(id.id, text));
    cr_assert_eq(unlink(path), 0);
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    cr_assert_eq(stage_kept_take(stage, id, &batch, &manifest, &err), PS_REFUSED);
    cr_assert_null(batch);
    cr_assert_eq(stage_disk_now(stage).kept_count, 0);
    cr_assert_eq(stage_disk_now(stage).bytes, 0);
    cr_assert_eq(stage_disk_now(stage).discarded, 2);
    ps_buf_fini(&manifest);
    stage_close(stage);
}

/* The descriptor of the one segment that is open here. */
static int
segment_fd(void)
{
    int found = -1;
    DIR *listing = opendir("/proc/self/fd");
    cr_assert_not_null(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        char target[256];
        ssize_t len = readlinkat(dirfd(listing), entry->d_name, target, sizeof target);
        if (len > 4 && memcmp(target + len - 4, ".seg", 4) == 0) {
            cr_assert_lt(found, 0, "one segment is open");
            found = (int)strtol(entry->d_name, NULL, 10);
        }
    }
    closedir(listing);
    cr_assert_geq(found, 0, "a segment is open");
    return found;
}

/* Whatever the disk's word for it: it is the segment that is at fault. */
Test(stage, a_segment_that_cannot_be_read_any_more_says_so)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct batch_id id = make_kept(stage, 50, false);
    struct stage_batch *batch = NULL;
    struct ps_buf manifest = PS_BUF_INIT;
    cr_assert_eq(stage_kept_take(stage, id, &batch, &manifest, &err), PS_OK, "%s", err.text);
    check(batch, 50, 1);
    stage_batch_rewind(batch);
    int folder = open(dir, O_RDONLY | O_DIRECTORY); /* of which pread reads nothing */
    cr_assert_geq(folder, 0);
    cr_assert_geq(dup2(folder, segment_fd()), 0);
    close(folder);
    const struct block *block = NULL;
    cr_assert_eq(stage_batch_next(batch, &block, &err), PS_BADDATA);
    cr_assert_str_eq(err.code, "stage_unreadable");
    cr_assert_not_null(strstr(err.text, "byte 64: read: Is a directory"), "%s", err.text);
    struct stage_reject reject;
    bool more = false;
    cr_assert_eq(stage_batch_next_reject(batch, &reject, &more, &err), PS_BADDATA);
    cr_assert_str_eq(err.code, "stage_unreadable");
    stage_batch_free(batch);
    cr_assert_eq(count_files(".seg"), 0, "it is of no more use");
    cr_assert_eq(stage_disk_now(stage).bytes, 0);
    ps_buf_fini(&manifest);
    stage_close(stage);
}

Test(stage, the_later_life_of_a_batch_stays)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct batch_id id = {ps_id_new()};
    char text[PS_ID_TEXT_BYTES], second[128], saved[128];
    snprintf(second, sizeof second, "%s/%s.2.seg", dir, ps_id_text(id.id, text));
    snprintf(saved, sizeof saved, "%s/saved", dir);
    for (uint64_t epoch = 1; epoch <= 3; epoch++) {
        struct stage_batch *batch = NULL;
        cr_assert_eq(stage_batch_new(stage, id, epoch, 2, &batch, &err), PS_OK);
        cr_assert_eq(append_rows(stage, batch, 0, 3), PS_OK);
        cr_assert_eq(stage_batch_describe(batch, ps_span_str("m"), &err), PS_OK);
        cr_assert_eq(stage_batch_seal(batch, &err), PS_OK);
        cr_assert(stage_batch_keep(batch));
        cr_assert(epoch != 2 || link(second, saved) == 0);
        cr_assert_eq(count_files(".seg"), 1, "one at a time");
    }
    stage_close(stage);
    cr_assert_eq(rename(saved, second), 0);
    stage = open_stage(0, 1 << 20);
    struct stage_kept kept[4];
    cr_assert_eq(stage_kept_list(stage, kept, 4), 1);
    cr_assert_eq(kept[0].epoch, 3);
    cr_assert_eq(count_files(".seg"), 1);
    cr_assert(stage_kept_remove(stage, id));
    cr_assert_not(stage_kept_remove(stage, id));
    cr_assert_eq(count_files(".seg"), 0);
    stage_close(stage);
}

/* What is kept counts in the quota, and makes room only where nothing else ever will. */
Test(stage, what_is_kept_makes_room_in_need_only)
{
    struct stage *stage = open_stage(0, 100000);
    struct batch_id old = make_kept(stage, 100, false);
    make_kept(stage, 100, false);
    struct stage_batch *first = NULL, *second = NULL;
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &first, &err), PS_OK);
    cr_assert_eq(append_rows(stage, first, 0, 100), PS_OK, "%s", err.text);
    cr_assert_eq(stage_batch_new(stage, (struct batch_id){ps_id_new()}, 1, 2, &second, &err),
                 PS_OK);
    enum ps_status status = PS_OK;
    for (int i = 0; i < 20 && status == PS_OK; i++) {
        status = append_rows(stage, second, 0, 100);
    }
    cr_assert_eq(status, PS_FULL, "the first batch will make room");
    cr_assert_eq(stage_disk_now(stage).kept_count, 2);
    stage_batch_free(first);
    status = PS_OK;
    while (status == PS_OK && stage_disk_now(stage).kept_count == 2) {
        status = append_rows(stage, second, 0, 100);
    }
    cr_assert_eq(status, PS_OK, "%s", err.text);
    cr_assert_eq(stage_disk_now(stage).kept_count, 1, "the oldest went");
    cr_assert_not(stage_kept_remove(stage, old));
    stage_batch_free(second);
    stage_close(stage);
}

Test(stage, the_folder_of_a_leaf_that_is_no_more_is_taken_over)
{
    char other[128], command[160];
    struct stage *stage = open_stage(0, 1 << 20);
    struct batch_id id = make_kept(stage, 20, false);
    stage_close(stage);
    snprintf(other, sizeof other, "%s-other", dir);
    const struct stage_limits limits = {.quota_bytes = 1 << 20};
    cr_assert_eq(stage_open(other, &limits, &stage, &err), PS_OK);
    size_t moved = 0;
    cr_assert_eq(stage_kept_move_in(stage, dir, &moved, &err), PS_OK, "%s", err.text);
    cr_assert_eq(moved, 1);
    cr_assert_eq(count_files(".seg"), 0);
    cr_assert_eq(stage_kept_move_in(stage, "/nonexistent/stage", &moved, &err), PS_OK);
    cr_assert_eq(moved, 0);
    take_and_check(stage, id, 20);
    stage_close(stage);
    snprintf(command, sizeof command, "rm -rf %s", other);
    cr_assert_eq(system(command), 0);
}

Test(stage, every_flipped_byte_of_the_payload_is_noticed)
{
    struct stage *stage = open_stage(0, 1 << 20);
    struct stage_batch *batch = NULL;
    struct batch_id id = {ps_id_new()};
    cr_assert_eq(stage_batch_new(stage, id, 1, 2, &batch, &err), PS_OK);
    cr_assert_eq(append_rows(stage, batch, 0, 3), PS_OK);
    add_reject(batch, 0);
    cr_assert_eq(stage_batch_seal(batch, &err), PS_OK);
    char text[PS_ID_TEXT_BYTES];
    char path[128];
    snprintf(path, sizeof path, "%s/%s.1.seg", dir, ps_id_text(id.id, text));
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    for (off_t at = 64; at < st.st_size - 48; at++) {
        uint8_t byte;
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        uint8_t bad = byte ^ 0x20;
        cr_assert_eq(pwrite(fd, &bad, 1, at), 1);
        stage_batch_rewind(batch);
        enum ps_status status = PS_OK;
        const struct block *block = NULL;
        int blocks = 0;
        do {
            status = stage_batch_next(batch, &block, &err);
            blocks += block != NULL;
        } while (status == PS_OK && block != NULL);
        bool more = true;
        int rejects = 0;
        while (status == PS_OK && more) {
            struct stage_reject reject;
            status = stage_batch_next_reject(batch, &reject, &more, &err);
            rejects += status == PS_OK && more;
        }
        /* Bytes of a frame's header that nothing reads (count, reserved) may change unseen. */
        cr_assert(status != PS_OK || (blocks == 1 && rejects == 1), "byte %ld", (long)at);
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
    stage_batch_free(batch);
    stage_close(stage);
}

Test(stage, blocks_come_back)
{
    struct stage *stage = open_stage(8 << 20, 0);
    struct block *block = stage_block_take(stage, 2);
    struct block *same = block;
    stage_block_give(stage, &block);
    cr_assert_null(block);
    block = stage_block_take(stage, 5);
    cr_assert_eq(block, same);
    cr_assert_eq(block->ncols, 5);
    cr_assert_eq(block->len, 0);
    stage_block_give(stage, &block);
    stage_close(stage);
}
