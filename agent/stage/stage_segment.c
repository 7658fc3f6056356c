/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stage/stage_segment.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "common/assert.h"
#include "common/failpoint.h"

enum {
    HEADER_BYTES = 64,
    FRAME_BYTES = BLOCK_HEADER_BYTES, /* frames of all kinds begin alike */
    /* A block is about BLOCK_TARGET_BYTES and one record more. */
    FRAME_MAX_BYTES = 1 << 30,
    TOTALS_BYTES = 24,
};

static const uint8_t magic_file[4] = {'P', 'S', 'S', 'G'};
static const uint8_t magic_rejects[4] = {'P', 'S', 'R', 'J'};
static const uint8_t magic_manifest[4] = {'P', 'S', 'M', 'F'};
static const uint8_t magic_end[4] = {'P', 'S', 'E', 'N'};

struct stage_segment {
    int fd;
    int dir_fd; /* borrowed */
    char name[STAGE_SEGMENT_NAME_BYTES];
    uint32_t ncols;
    uint32_t frames;
    uint64_t heads; /* chained digest of the frames' heads */
    uint64_t bytes; /* written so far: where the next frame goes */
    bool sealed;
    bool condemned;
};

static void
put_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void
put_u64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t
get_u64(const uint8_t *at)
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

static enum ps_status
condemn(struct stage_segment *segment, int errnum, const char *what, struct ps_error *err)
{
    segment->condemned = true;
    return ps_fail_errno(err, errnum, "staging segment %s: %s", segment->name, what);
}

static enum ps_status
write_parts(struct stage_segment *segment, const void *head, size_t head_bytes, struct ps_span body,
            struct ps_error *err)
{
    if (segment->condemned) {
        return ps_fail_code(err, PS_AGAIN, "stage_condemned",
                            "staging segment %s: an earlier write failed", segment->name);
    }
    size_t total = head_bytes + body.len;
    size_t done = 0;
    while (done < total) {
        struct iovec parts[2];
        int count = 0;
        if (done < head_bytes) {
            parts[count].iov_base = (uint8_t *)(uintptr_t)head + done;
            parts[count++].iov_len = head_bytes - done;
        }
        size_t skip = done > head_bytes ? done - head_bytes : 0;
        if (body.len > skip) {
            parts[count].iov_base = (uint8_t *)(uintptr_t)body.ptr + skip;
            parts[count++].iov_len = body.len - skip;
        }
        ssize_t wrote = pwritev(segment->fd, parts, count, (off_t)(segment->bytes + done));
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return condemn(segment, wrote == 0 ? EIO : errno, "write", err);
        }
        done += (size_t)wrote;
    }
    segment->bytes += total;
    return PS_OK;
}

static void
frame_head(uint8_t out[FRAME_BYTES], const uint8_t magic[4], uint32_t count, struct ps_span body)
{
    memset(out, 0, FRAME_BYTES);
    memcpy(out, magic, 4);
    put_u32(out + 4, STAGE_SEGMENT_FORMAT);
    put_u32(out + 8, count);
    put_u64(out + 16, body.len);
    put_u64(out + 24, XXH3_64bits(body.ptr, body.len));
}

static uint64_t
chain(uint64_t before, const uint8_t head[FRAME_BYTES])
{
    return XXH3_64bits_withSeed(head, FRAME_BYTES, before);
}

static enum ps_status
put_frame(struct stage_segment *segment, const uint8_t head[FRAME_BYTES], struct ps_span body,
          struct ps_error *err)
{
    PS_ASSERT(!segment->sealed);
    segment->frames++;
    segment->heads = chain(segment->heads, head);
    return write_parts(segment, head, FRAME_BYTES, body, err);
}

void
stage_segment_name(const struct stage_segment_label *label, char out[STAGE_SEGMENT_NAME_BYTES])
{
    char text[PS_ID_TEXT_BYTES];
    snprintf(out, STAGE_SEGMENT_NAME_BYTES, "%s.%" PRIu64 ".seg", ps_id_text(label->id.id, text),
             label->epoch);
}

enum ps_status
stage_segment_create(int dir_fd, struct batch_id id, uint64_t epoch, uint32_t ncols,
                     struct stage_segment **out, struct ps_error *err)
{
    struct stage_segment *segment = ps_calloc(1, sizeof *segment);
    if (segment == NULL) {
        return ps_fail(err, PS_FULL, "staging segment: out of memory");
    }
    const struct stage_segment_label label = {.id = id, .epoch = epoch};
    stage_segment_name(&label, segment->name);
    segment->dir_fd = dir_fd;
    segment->ncols = ncols;
    char temp[STAGE_SEGMENT_NAME_BYTES + 4];
    snprintf(temp, sizeof temp, "%s.tmp", segment->name);
    segment->fd = openat(dir_fd, temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (segment->fd < 0) {
        enum ps_status failed =
            ps_fail_errno(err, errno, "staging segment %s: create", segment->name);
        ps_free(segment);
        return failed;
    }
    uint8_t head[HEADER_BYTES] = {0};
    memcpy(head, magic_file, 4);
    put_u32(head + 4, STAGE_SEGMENT_FORMAT);
    put_u32(head + 8, ncols);
    memcpy(head + 16, id.id.b, PS_ID_BYTES);
    put_u64(head + 32, epoch);
    put_u64(head + 56, XXH3_64bits(head, 56));
    enum ps_status status = write_parts(segment, head, sizeof head, ps_span(NULL, 0), err);
    if (status != PS_OK) {
        stage_segment_remove(segment);
        return status;
    }
    *out = segment;
    return PS_OK;
}

enum ps_status
stage_segment_put_block(struct stage_segment *segment, const struct block *block,
                        struct ps_error *err)
{
    uint8_t head[FRAME_BYTES];
    block_header_write(block, head);
    return put_frame(segment, head, ps_span(block->bytes, block->len), err);
}

enum ps_status
stage_segment_put_rejects(struct stage_segment *segment, struct ps_span encoded, uint32_t count,
                          struct ps_error *err)
{
    uint8_t head[FRAME_BYTES];
    frame_head(head, magic_rejects, count, encoded);
    return put_frame(segment, head, encoded, err);
}

static enum ps_status
put_end(struct stage_segment *segment, const struct stage_segment_totals *totals,
        struct ps_error *err)
{
    uint8_t head[FRAME_BYTES];
    if (totals->manifest.len > 0) {
        frame_head(head, magic_manifest, 0, totals->manifest);
        enum ps_status status = put_frame(segment, head, totals->manifest, err);
        if (status != PS_OK) {
            return status;
        }
        if (PS_FAILPOINT("stage.after_manifest")) {
            return condemn(segment, EIO, "write (failpoint)", err);
        }
    }
    uint8_t body[TOTALS_BYTES];
    put_u64(body, totals->rows);
    put_u64(body + 8, totals->rejects);
    put_u64(body + 16, segment->heads);
    frame_head(head, magic_end, segment->frames, ps_span(body, sizeof body));
    return write_parts(segment, head, sizeof head, ps_span(body, sizeof body), err);
}

enum ps_status
stage_segment_seal(struct stage_segment *segment, const struct stage_segment_totals *totals,
                   struct ps_error *err)
{
    PS_ASSERT(!segment->sealed);
    enum ps_status status = put_end(segment, totals, err);
    if (status != PS_OK) {
        return status;
    }
    if (PS_FAILPOINT("stage.before_fsync")) {
        return condemn(segment, EIO, "fsync (failpoint)", err);
    }
    if (fsync(segment->fd) != 0) {
        return condemn(segment, errno, "fsync", err);
    }
    if (PS_FAILPOINT("stage.before_rename")) {
        return condemn(segment, EIO, "rename (failpoint)", err);
    }
    char temp[STAGE_SEGMENT_NAME_BYTES + 4];
    snprintf(temp, sizeof temp, "%s.tmp", segment->name);
    if (renameat(segment->dir_fd, temp, segment->dir_fd, segment->name) != 0) {
        return condemn(segment, errno, "rename into place", err);
    }
    segment->sealed = true;
    if (PS_FAILPOINT("stage.after_rename")) {
        return condemn(segment, EIO, "fsync of the folder (failpoint)", err);
    }
    if (fsync(segment->dir_fd) != 0) {
        return condemn(segment, errno, "fsync of the folder", err);
    }
    return PS_OK;
}

uint64_t
stage_segment_bytes(const struct stage_segment *segment)
{
    return segment->bytes;
}

uint32_t
stage_segment_ncols(const struct stage_segment *segment)
{
    return segment->ncols;
}

static enum ps_status
corrupt(const struct stage_segment *segment, uint64_t offset, const char *what,
        struct ps_error *err)
{
    return ps_fail_code(err, PS_BADDATA, "stage_corrupt",
                        "staging segment %s: byte %" PRIu64 ": %s", segment->name, offset, what);
}

/* Whatever the disk says: there are no rows to be had, now or later. As PS_AGAIN it would be taken
 * for the destination's, as PS_REFUSED for the batch's. */
static enum ps_status
unreadable(const struct stage_segment *segment, int errnum, uint64_t offset, struct ps_error *err)
{
    if (ps_fail_errno(err, errnum, "staging segment %s: byte %" PRIu64 ": read", segment->name,
                      offset) == PS_FULL) {
        return PS_FULL;
    }
    struct ps_error why = *err;
    return ps_fail_code(err, PS_BADDATA, "stage_unreadable", "%s", why.text);
}

static enum ps_status
read_at(const struct stage_segment *segment, void *out, size_t bytes, uint64_t offset,
        struct ps_error *err)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got =
            pread(segment->fd, (uint8_t *)out + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return unreadable(segment, errno, offset + done, err);
        }
        if (got == 0) {
            return corrupt(segment, offset, "the file ends early", err);
        }
        done += (size_t)got;
    }
    return PS_OK;
}

struct frame {
    enum { FRAME_BLOCK, FRAME_REJECTS, FRAME_MANIFEST, FRAME_END } kind;
    uint32_t ncols;
    uint32_t count;
    size_t len;
    uint64_t checksum;
    uint64_t body; /* where the payload begins */
};

static enum ps_status
parse_head(const struct stage_segment *segment, uint64_t offset, const uint8_t head[FRAME_BYTES],
           struct frame *out, struct ps_error *err)
{
    *out = (struct frame){.kind = FRAME_BLOCK, .body = offset + FRAME_BYTES};
    if (memcmp(head, magic_rejects, 4) == 0) {
        out->kind = FRAME_REJECTS;
    } else if (memcmp(head, magic_manifest, 4) == 0) {
        out->kind = FRAME_MANIFEST;
    } else if (memcmp(head, magic_end, 4) == 0) {
        out->kind = FRAME_END;
    } else {
        return block_header_read(head, FRAME_MAX_BYTES, &out->ncols, &out->count, &out->len,
                                 &out->checksum, err);
    }
    uint64_t len = get_u64(head + 16);
    if (get_u32(head + 4) != STAGE_SEGMENT_FORMAT || get_u32(head + 12) != 0 ||
        len > FRAME_MAX_BYTES) {
        return corrupt(segment, offset, "unknown format or length", err);
    }
    out->count = get_u32(head + 8);
    out->len = (size_t)len;
    out->checksum = get_u64(head + 24);
    return PS_OK;
}

/* Its payload lies in the file: no length is believed before that. */
static enum ps_status
read_frame(const struct stage_segment *segment, uint64_t offset, uint8_t head[FRAME_BYTES],
           struct frame *out, struct ps_error *err)
{
    enum ps_status status = read_at(segment, head, FRAME_BYTES, offset, err);
    if (status == PS_OK) {
        status = parse_head(segment, offset, head, out, err);
    }
    if (status == PS_OK && (out->body > segment->bytes || out->len > segment->bytes - out->body)) {
        status = corrupt(segment, offset, "a frame beyond the file's end", err);
    }
    return status;
}

/* The next frame of the kind wanted; *out_more is false at the end frame. */
static enum ps_status
find_frame(const struct stage_segment *segment, struct stage_segment_at *at, int kind,
           struct frame *out, bool *out_more, struct ps_error *err)
{
    PS_ASSERT(segment->sealed && !segment->condemned);
    if (at->offset == 0) {
        at->offset = HEADER_BYTES;
    }
    for (;;) {
        uint8_t head[FRAME_BYTES];
        enum ps_status status = read_frame(segment, at->offset, head, out, err);
        if (status != PS_OK) {
            return status;
        }
        if (out->kind == FRAME_END) {
            *out_more = false;
            return PS_OK;
        }
        at->offset = out->body + out->len;
        if ((int)out->kind == kind) {
            *out_more = true;
            return PS_OK;
        }
    }
}

enum ps_status
stage_segment_next_block(struct stage_segment *segment, struct stage_segment_at *at,
                         struct block *block, bool *out_more, struct ps_error *err)
{
    struct frame frame;
    enum ps_status status = find_frame(segment, at, FRAME_BLOCK, &frame, out_more, err);
    if (status != PS_OK || !*out_more) {
        return status;
    }
    if (frame.ncols != segment->ncols) {
        return corrupt(segment, frame.body, "a block of other columns", err);
    }
    if (block->cap < frame.len) {
        uint8_t *bytes = ps_realloc(block->bytes, frame.len);
        if (bytes == NULL) {
            return ps_fail(err, PS_FULL, "staging segment: out of memory");
        }
        block->bytes = bytes;
        block->cap = frame.len;
    }
    status = read_at(segment, block->bytes, frame.len, frame.body, err);
    if (status != PS_OK) {
        return status;
    }
    block->len = frame.len;
    block->ncols = frame.ncols;
    block->rows = frame.count;
    if (block_checksum(block) != frame.checksum) {
        return corrupt(segment, frame.body, "checksum of a block is wrong", err);
    }
    return PS_OK;
}

enum ps_status
stage_segment_next_rejects(struct stage_segment *segment, struct stage_segment_at *at,
                           struct ps_buf *buf, bool *out_more, struct ps_error *err)
{
    struct frame frame;
    enum ps_status status = find_frame(segment, at, FRAME_REJECTS, &frame, out_more, err);
    if (status != PS_OK || !*out_more) {
        return status;
    }
    ps_buf_clear(buf);
    status = ps_buf_reserve(buf, frame.len, err);
    if (status == PS_OK) {
        status = read_at(segment, buf->ptr, frame.len, frame.body, err);
    }
    if (status != PS_OK) {
        return status;
    }
    buf->len = frame.len;
    if (XXH3_64bits(buf->ptr, buf->len) != frame.checksum) {
        return corrupt(segment, frame.body, "checksum of rejects is wrong", err);
    }
    return PS_OK;
}

/* ---- a file of an earlier process */

static enum ps_status
read_header(const struct stage_segment *segment, struct stage_segment_label *out,
            uint32_t *out_ncols, struct ps_error *err)
{
    uint8_t head[HEADER_BYTES];
    enum ps_status status = read_at(segment, head, sizeof head, 0, err);
    if (status != PS_OK) {
        return status;
    }
    if (memcmp(head, magic_file, 4) != 0 || get_u64(head + 56) != XXH3_64bits(head, 56)) {
        return corrupt(segment, 0, "no segment's header", err);
    }
    if (get_u32(head + 4) != STAGE_SEGMENT_FORMAT) {
        return corrupt(segment, 4, "another format", err);
    }
    *out_ncols = get_u32(head + 8);
    memcpy(out->id.id.b, head + 16, PS_ID_BYTES);
    out->epoch = get_u64(head + 32);
    return PS_OK;
}

static enum ps_status
open_named(int dir_fd, const char *name, struct stage_segment *out,
           struct stage_segment_label *out_label, struct ps_error *err)
{
    struct stat st;
    char own[STAGE_SEGMENT_NAME_BYTES];
    snprintf(out->name, sizeof out->name, "%s", name);
    out->dir_fd = dir_fd;
    out->sealed = true;
    out->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (out->fd < 0 || fstat(out->fd, &st) != 0) {
        return ps_fail_errno(err, errno, "staging segment %s: open", name);
    }
    if (!S_ISREG(st.st_mode)) {
        return corrupt(out, 0, "not a file", err);
    }
    enum ps_status status = read_header(out, out_label, &out->ncols, err);
    if (status != PS_OK) {
        return status;
    }
    stage_segment_name(out_label, own);
    if (strcmp(own, name) != 0) {
        return corrupt(out, 16, "its name is another batch's", err);
    }
    out->bytes = (uint64_t)st.st_size;
    out_label->bytes = out->bytes;
    return PS_OK;
}

enum ps_status
stage_segment_look(int dir_fd, const char *name, struct stage_segment_label *out,
                   struct ps_error *err)
{
    struct stage_segment segment = {.fd = -1};
    if (strlen(name) >= sizeof segment.name) {
        return ps_fail_code(err, PS_BADDATA, "stage_corrupt", "staging segment: a long name");
    }
    enum ps_status status = open_named(dir_fd, name, &segment, out, err);
    if (segment.fd >= 0) {
        close(segment.fd);
    }
    return status;
}

struct walk {
    uint64_t offset;
    uint64_t rows, rejects;
    uint32_t frames;
    uint64_t heads;
    struct ps_buf body;
};

static enum ps_status
check_end(const struct stage_segment *segment, const struct walk *walk, const struct frame *end,
          struct stage_segment_totals *out, struct ps_error *err)
{
    if (walk->body.len != TOTALS_BYTES || end->count != walk->frames ||
        get_u64(walk->body.ptr + 16) != walk->heads) {
        return corrupt(segment, walk->offset, "its end speaks of other frames", err);
    }
    if (end->body + end->len != segment->bytes) {
        return corrupt(segment, end->body + end->len, "something follows its end", err);
    }
    out->rows = get_u64(walk->body.ptr);
    out->rejects = get_u64(walk->body.ptr + 8);
    return out->rows == walk->rows && out->rejects == walk->rejects
               ? PS_OK
               : corrupt(segment, walk->offset, "its end speaks of other rows or rejects", err);
}

/* One frame: its payload is in walk->body, checked. */
static enum ps_status
walk_frame(const struct stage_segment *segment, struct walk *walk, uint8_t head[FRAME_BYTES],
           struct frame *out, struct ps_error *err)
{
    enum ps_status status = read_frame(segment, walk->offset, head, out, err);
    if (status != PS_OK) {
        return status;
    }
    if (out->kind == FRAME_BLOCK && out->ncols != segment->ncols) {
        return corrupt(segment, walk->offset, "a block of other columns", err);
    }
    ps_buf_clear(&walk->body);
    status = ps_buf_reserve(&walk->body, out->len, err);
    if (status == PS_OK) {
        status = read_at(segment, walk->body.ptr, out->len, out->body, err);
    }
    if (status != PS_OK) {
        return status;
    }
    walk->body.len = out->len;
    if (XXH3_64bits(walk->body.ptr, walk->body.len) != out->checksum) {
        return corrupt(segment, out->body, "a checksum is wrong", err);
    }
    return PS_OK;
}

static enum ps_status
verify(const struct stage_segment *segment, struct stage_segment_totals *out,
       struct ps_buf *manifest, struct ps_error *err)
{
    struct walk walk = {.offset = HEADER_BYTES};
    struct frame frame = {0};
    enum ps_status status;
    ps_buf_clear(manifest);
    for (;;) {
        uint8_t head[FRAME_BYTES];
        status = walk_frame(segment, &walk, head, &frame, err);
        if (status != PS_OK || frame.kind == FRAME_END) {
            break;
        }
        if (frame.kind == FRAME_MANIFEST) {
            status = manifest->len > 0 ? corrupt(segment, walk.offset, "a second manifest", err)
                                       : ps_buf_append(manifest, walk.body.ptr, walk.body.len, err);
            if (status != PS_OK) {
                break;
            }
        }
        walk.rows += frame.kind == FRAME_BLOCK ? frame.count : 0;
        walk.rejects += frame.kind == FRAME_REJECTS ? frame.count : 0;
        walk.frames++;
        walk.heads = chain(walk.heads, head);
        walk.offset = frame.body + frame.len;
    }
    if (status == PS_OK) {
        status = check_end(segment, &walk, &frame, out, err);
    }
    out->manifest = ps_buf_span(manifest);
    ps_buf_fini(&walk.body);
    if (status == PS_REFUSED) { /* blocks of another version of this program */
        status = corrupt(segment, walk.offset, "another format", err);
    }
    return status;
}

enum ps_status
stage_segment_open(int dir_fd, const struct stage_segment_label *label, struct stage_segment **out,
                   struct stage_segment_totals *out_totals, struct ps_buf *manifest,
                   struct ps_error *err)
{
    struct stage_segment *segment = ps_calloc(1, sizeof *segment);
    if (segment == NULL) {
        return ps_fail(err, PS_FULL, "staging segment: out of memory");
    }
    char name[STAGE_SEGMENT_NAME_BYTES];
    struct stage_segment_label own = {0};
    segment->fd = -1;
    stage_segment_name(label, name);
    enum ps_status status = open_named(dir_fd, name, segment, &own, err);
    if (status == PS_OK) {
        status = verify(segment, out_totals, manifest, err);
    }
    if (status != PS_OK) {
        stage_segment_close(segment);
        return status;
    }
    *out = segment;
    return PS_OK;
}

/* ---- the end */

void
stage_segment_close(struct stage_segment *segment)
{
    if (segment->fd >= 0) {
        close(segment->fd);
    }
    ps_free(segment);
}

void
stage_segment_remove(struct stage_segment *segment)
{
    if (segment == NULL) {
        return;
    }
    char temp[STAGE_SEGMENT_NAME_BYTES + 4];
    snprintf(temp, sizeof temp, "%s%s", segment->name, segment->sealed ? "" : ".tmp");
    /* Left behind where this fails: the next open finds it. */
    if (!PS_FAILPOINT("stage.before_unlink")) {
        (void)unlinkat(segment->dir_fd, temp, 0);
    }
    stage_segment_close(segment);
}
