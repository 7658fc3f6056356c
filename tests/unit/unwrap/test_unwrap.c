/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>
#include <zstd.h>
#ifdef PS_UNWRAP_LZ4
#include <lz4frame.h>
#endif
#ifdef PS_UNWRAP_BZ2
#include <bzlib.h>
#endif
#ifdef PS_UNWRAP_XZ
#include <lzma.h>
#endif

#include "agent/unwrap/unwrap.h"
#include "common/alloc.h"
#include "common/buf.h"
#include "common/rand.h"

/* Stored bytes that come in pieces of random size. */
struct feed {
    struct ps_span stored;
    size_t at;
    size_t max_piece;
    struct ps_rand rand;
    size_t fail_at; /* pulls from this offset on fail with PS_AGAIN; 0 = never */
};

static enum ps_status
feed_pull(void *ctx, uint8_t *out, size_t cap, size_t *out_n, struct ps_error *err)
{
    struct feed *feed = ctx;
    if (feed->fail_at > 0 && feed->at >= feed->fail_at) {
        return ps_fail(err, PS_AGAIN, "the line broke");
    }
    size_t n = feed->stored.len - feed->at;
    size_t piece = 1 + ps_rand_below(&feed->rand, feed->max_piece);
    n = n < piece ? n : piece;
    n = n < cap ? n : cap;
    if (n > 0) {
        memcpy(out, feed->stored.ptr + feed->at, n);
    }
    feed->at += n;
    *out_n = n;
    return PS_OK;
}

static void
add_text(struct ps_buf *buf, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        ps_buf_xprintf(buf, "%zu,name %zu,%zu.5,\"quoted, %zu\"\n", i, i * 7919 % 1000, i * 31, i);
    }
}

static void
add_gzip(struct ps_buf *stored, struct ps_span text)
{
    size_t cap = text.len + text.len / 8 + 4096;
    uint8_t *out = ps_xalloc(cap);
    struct isal_zstream stream;
    isal_deflate_stateless_init(&stream);
    stream.gzip_flag = IGZIP_GZIP;
    stream.next_in = (uint8_t *)(uintptr_t)text.ptr;
    stream.avail_in = (uint32_t)text.len;
    stream.end_of_stream = 1;
    stream.next_out = out;
    stream.avail_out = (uint32_t)cap;
    cr_assert_eq(isal_deflate_stateless(&stream), COMP_OK);
    /* With the file's name in the header, as gzip(1) writes it: longer than what detection takes,
     * so that the header is cut by every small window. */
    enum { HEADER_BYTES = 10, FLAGS_AT = 3, FLAG_NAME = 8 };
    static const char name[] = "a name as long as people give.csv";
    out[FLAGS_AT] |= FLAG_NAME;
    ps_buf_xappend(stored, out, HEADER_BYTES);
    ps_buf_xappend(stored, name, sizeof name);
    ps_buf_xappend(stored, out + HEADER_BYTES, stream.total_out - HEADER_BYTES);
    ps_free(out);
}

static void
add_zstd(struct ps_buf *stored, struct ps_span text)
{
    size_t cap = ZSTD_compressBound(text.len);
    uint8_t *out = ps_xalloc(cap);
    size_t n = ZSTD_compress(out, cap, text.ptr, text.len, 3);
    cr_assert(!ZSTD_isError(n));
    ps_buf_xappend(stored, out, n);
    ps_free(out);
}

#ifdef PS_UNWRAP_LZ4
static void
add_lz4(struct ps_buf *stored, struct ps_span text)
{
    LZ4F_preferences_t preferences = {
        .frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled,
                      .blockChecksumFlag = LZ4F_blockChecksumEnabled,
                      .contentSize = text.len}};
    size_t cap = LZ4F_compressFrameBound(text.len, &preferences);
    uint8_t *out = ps_xalloc(cap);
    size_t n = LZ4F_compressFrame(out, cap, text.ptr, text.len, &preferences);
    cr_assert(!LZ4F_isError(n));
    ps_buf_xappend(stored, out, n);
    ps_free(out);
}
#endif

#ifdef PS_UNWRAP_BZ2
static void
add_bz2(struct ps_buf *stored, struct ps_span text)
{
    unsigned cap = (unsigned)(text.len + text.len / 50 + 600);
    char *out = ps_xalloc(cap);
    const void *from = text.len == 0 ? "" : (const void *)text.ptr;
    cr_assert_eq(
        BZ2_bzBuffToBuffCompress(out, &cap, (char *)(uintptr_t)from, (unsigned)text.len, 9, 0, 0),
        BZ_OK);
    ps_buf_xappend(stored, out, cap);
    ps_free(out);
}
#endif

#ifdef PS_UNWRAP_XZ
static void
add_xz_level(struct ps_buf *stored, struct ps_span text, uint32_t level)
{
    size_t cap = lzma_stream_buffer_bound(text.len);
    size_t n = 0;
    uint8_t *out = ps_xalloc(cap);
    cr_assert_eq(
        lzma_easy_buffer_encode(level, LZMA_CHECK_CRC64, NULL, text.ptr, text.len, out, &n, cap),
        LZMA_OK);
    ps_buf_xappend(stored, out, n);
    ps_free(out);
}

static void
add_xz(struct ps_buf *stored, struct ps_span text)
{
    add_xz_level(stored, text, 3);
}
#endif

struct outcome {
    enum ps_status status;
    struct ps_error err;
    struct ps_buf text;
    char name[16];
    uint64_t stored_bytes;
};

static struct outcome
unwrap_all_of(struct ps_span stored, const char *compression, const struct unwrap_limits *limits,
              struct feed feed)
{
    struct outcome outcome = {0};
    struct unwrap *unwrap = NULL;
    feed.stored = stored;
    feed.max_piece = feed.max_piece == 0 ? 1 << 20 : feed.max_piece;
    outcome.status = unwrap_open(compression, feed_pull, &feed, limits, &unwrap, &outcome.err);
    size_t cap = feed.max_piece < 4096 ? 1 + feed.max_piece * 3 : 64 * 1024;
    uint8_t *out = ps_xalloc(cap);
    size_t n = 1;
    while (outcome.status == PS_OK && n > 0) {
        outcome.status = unwrap_read(unwrap, out, cap, &n, &outcome.err);
        if (outcome.status == PS_OK) {
            ps_buf_xappend(&outcome.text, out, n);
        }
    }
    if (unwrap != NULL) {
        snprintf(outcome.name, sizeof outcome.name, "%s", unwrap_name(unwrap));
        outcome.stored_bytes = unwrap_stored_bytes(unwrap);
    }
    ps_free(out);
    unwrap_close(unwrap);
    return outcome;
}

static void
expect_text(struct ps_span stored, const char *compression, struct ps_span text, const char *name)
{
    static const size_t pieces[] = {1, 2, 7, 100, 5000, 1 << 20};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct feed feed = {.max_piece = pieces[i]};
        ps_rand_seed(&feed.rand, i);
        struct outcome outcome = unwrap_all_of(stored, compression, NULL, feed);
        cr_assert_eq(outcome.status, PS_OK, "pieces %zu: %s", pieces[i], outcome.err.text);
        cr_assert(ps_span_eq(ps_buf_span(&outcome.text), text), "pieces %zu", pieces[i]);
        cr_assert_str_eq(outcome.name, name);
        cr_assert_eq(outcome.stored_bytes, stored.len);
        ps_buf_fini(&outcome.text);
    }
}

static struct ps_error
expect_fail(struct ps_span stored, const char *compression, const struct unwrap_limits *limits,
            const char *code)
{
    static const size_t pieces[] = {1, 13, 1 << 20};
    struct ps_error err = {0};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct feed feed = {.max_piece = pieces[i]};
        struct outcome outcome = unwrap_all_of(stored, compression, limits, feed);
        cr_assert_eq(outcome.status, PS_BADDATA, "status %d", outcome.status);
        cr_assert_str_eq(outcome.err.code, code, "%s", outcome.err.text);
        err = outcome.err;
        ps_buf_fini(&outcome.text);
    }
    return err;
}

typedef void (*add_fn)(struct ps_buf *stored, struct ps_span text);

static void
check_members(add_fn add, const char *name)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    for (size_t member = 0; member < 5; member++) {
        size_t from = text.len;
        add_text(&text, member * 300); /* the first is empty */
        add(&stored, ps_span(text.ptr + from, text.len - from));
    }
    expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&text), name);
    expect_text(ps_buf_span(&stored), name, ps_buf_span(&text), name);
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

Test(unwrap, gzip_members)
{
    check_members(add_gzip, "gzip");
}

Test(unwrap, zstd_frames)
{
    check_members(add_zstd, "zstd");
}

#ifdef PS_UNWRAP_LZ4
Test(unwrap, lz4_members)
{
    check_members(add_lz4, "lz4");
}
#endif

#ifdef PS_UNWRAP_BZ2
Test(unwrap, bz2_members)
{
    check_members(add_bz2, "bz2");
}
#endif

#ifdef PS_UNWRAP_XZ
Test(unwrap, xz_members)
{
    check_members(add_xz, "xz");
}
#endif

Test(unwrap, plain_passes)
{
    struct ps_buf text = PS_BUF_INIT;
    expect_text(ps_buf_span(&text), "auto", ps_buf_span(&text), "none");
    ps_buf_xprintf(&text, "a");
    expect_text(ps_buf_span(&text), "auto", ps_buf_span(&text), "none");
    add_text(&text, 1000);
    expect_text(ps_buf_span(&text), "auto", ps_buf_span(&text), "none");
    expect_text(ps_buf_span(&text), "none", ps_buf_span(&text), "none");
    expect_fail(ps_buf_span(&text), "gzip", NULL, "unwrap_corrupt");
    expect_fail(ps_buf_span(&text), "zstd", NULL, "unwrap_corrupt");
    ps_buf_fini(&text);
}

Test(unwrap, gzip_under_none_stays_gzip)
{
    struct ps_buf stored = PS_BUF_INIT;
    add_gzip(&stored, ps_span_str("a,b\n"));
    expect_text(ps_buf_span(&stored), "none", ps_buf_span(&stored), "none");
    ps_buf_fini(&stored);
}

static void
check_every_truncation(add_fn add)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 20);
    add(&stored, ps_buf_span(&text));
    size_t first = stored.len;
    add(&stored, ps_buf_span(&text));
    for (size_t len = 10; len < stored.len; len++) {
        if (len != first) {
            struct ps_error err =
                expect_fail(ps_span(stored.ptr, len), "auto", NULL, "unwrap_truncated");
            char at[40];
            snprintf(at, sizeof at, "stored offset %zu", len);
            cr_assert(strstr(err.text, at) != NULL, "%s", err.text);
        }
    }
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

Test(unwrap, gzip_truncated_anywhere)
{
    check_every_truncation(add_gzip);
}

Test(unwrap, zstd_truncated_anywhere)
{
    check_every_truncation(add_zstd);
}

#ifdef PS_UNWRAP_LZ4
Test(unwrap, lz4_truncated_anywhere)
{
    check_every_truncation(add_lz4);
}
#endif

#ifdef PS_UNWRAP_BZ2
Test(unwrap, bz2_truncated_anywhere)
{
    check_every_truncation(add_bz2);
}
#endif

#ifdef PS_UNWRAP_XZ
Test(unwrap, xz_truncated_anywhere)
{
    check_every_truncation(add_xz);
}
#endif

Test(unwrap, gzip_every_flipped_byte_of_the_trailer)
{
    struct ps_buf stored = PS_BUF_INIT;
    add_gzip(&stored, ps_span_str("id,name\n1,a\n2,b\n"));
    for (size_t i = stored.len - 8; i < stored.len; i++) {
        stored.ptr[i] ^= 0x10;
        expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_corrupt");
        stored.ptr[i] ^= 0x10;
    }
    ps_buf_fini(&stored);
}

static void
check_garbage(add_fn add, const char *padded)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    uint8_t zeros[1000] = {0};
    add_text(&text, 20);
    add(&stored, ps_buf_span(&text));
    size_t end = stored.len;

    ps_buf_xappend(&stored, "garbage behind", 14);
    struct ps_error err = expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_garbage");
    char at[40];
    snprintf(at, sizeof at, "stored offset %zu", end);
    cr_assert(strstr(err.text, at) != NULL, "%s", err.text);

    stored.len = end;
    ps_buf_xappend(&stored, zeros, sizeof zeros);
    if (padded != NULL) {
        expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&text), padded);
    } else {
        expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_garbage");
    }
    ps_buf_xappend(&stored, "x", 1);
    expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_garbage");
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

Test(unwrap, gzip_garbage)
{
    check_garbage(add_gzip, "gzip");
}

Test(unwrap, zstd_garbage)
{
    check_garbage(add_zstd, NULL);
}

#ifdef PS_UNWRAP_LZ4
Test(unwrap, lz4_garbage)
{
    check_garbage(add_lz4, NULL);
}
#endif

#ifdef PS_UNWRAP_BZ2
Test(unwrap, bz2_garbage)
{
    check_garbage(add_bz2, NULL);
}
#endif

#ifdef PS_UNWRAP_XZ
Test(unwrap, xz_garbage)
{
    check_garbage(add_xz, "xz");
}
#endif

/* Never other bytes: an error, or a bit that nothing uses. */
static void
check_flips(add_fn add, size_t from)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 20);
    add(&stored, ps_buf_span(&text));
    for (size_t i = from; i < stored.len; i++) {
        stored.ptr[i] ^= 0x10;
        struct outcome outcome =
            unwrap_all_of(ps_buf_span(&stored), "auto", NULL, (struct feed){0});
        if (outcome.status == PS_OK) {
            cr_assert(ps_span_eq(ps_buf_span(&outcome.text), ps_buf_span(&text)), "byte %zu", i);
        } else {
            cr_assert_eq(outcome.status, PS_BADDATA, "byte %zu: %d", i, outcome.status);
            cr_assert(strstr(outcome.err.text, "stored offset") != NULL, "%s", outcome.err.text);
        }
        stored.ptr[i] ^= 0x10;
        ps_buf_fini(&outcome.text);
    }
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

Test(unwrap, gzip_every_flipped_byte)
{
    check_flips(add_gzip, 44); /* behind the header, which has no checksum */
}

#ifdef PS_UNWRAP_LZ4
Test(unwrap, lz4_every_flipped_byte)
{
    check_flips(add_lz4, 12);
}
#endif

#ifdef PS_UNWRAP_BZ2
Test(unwrap, bz2_every_flipped_byte)
{
    check_flips(add_bz2, 12);
}
#endif

#ifdef PS_UNWRAP_XZ
Test(unwrap, xz_every_flipped_byte)
{
    check_flips(add_xz, 12);
}
#endif

#ifdef PS_UNWRAP_XZ
Test(unwrap, xz_padding_is_a_multiple_of_four)
{
    static const uint8_t zeros[8] = {0};
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    struct ps_buf twice = PS_BUF_INIT;
    add_text(&text, 50);
    add_xz(&stored, ps_buf_span(&text));
    size_t end = stored.len;
    ps_buf_xappend(&twice, text.ptr, text.len);
    ps_buf_xappend(&twice, text.ptr, text.len);
    for (size_t zero_bytes = 0; zero_bytes <= 8; zero_bytes++) {
        stored.len = end;
        ps_buf_xappend(&stored, zeros, zero_bytes);
        if (zero_bytes % 4 == 0) {
            expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&text), "xz");
            add_xz(&stored, ps_buf_span(&text));
            expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&twice), "xz");
        } else {
            expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_garbage");
            add_xz(&stored, ps_buf_span(&text));
            expect_fail(ps_buf_span(&stored), "auto", NULL, "unwrap_garbage");
        }
    }
    ps_buf_fini(&text);
    ps_buf_fini(&twice);
    ps_buf_fini(&stored);
}

Test(unwrap, xz_dictionary_ceiling)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 1000);
    add_xz_level(&stored, ps_buf_span(&text), 9); /* asks for 64 MiB whatever it holds */
    struct unwrap_limits small = {.max_window_bytes = 16 << 20};
    struct unwrap_limits large = {.max_window_bytes = 80 << 20};
    struct ps_error err = expect_fail(ps_buf_span(&stored), "auto", &small, "unwrap_window");
    cr_assert(strstr(err.text, "16777216 are allowed") != NULL, "%s", err.text);
    struct outcome outcome = unwrap_all_of(ps_buf_span(&stored), "auto", &large, (struct feed){0});
    cr_assert_eq(outcome.status, PS_OK, "%s", outcome.err.text);
    ps_buf_fini(&outcome.text);
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}
#endif

Test(unwrap, zstd_skippable_frames)
{
    static const uint8_t skippable[] = {0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'x', 'y', 'z'};
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 50);
    ps_buf_xappend(&stored, skippable, sizeof skippable);
    add_zstd(&stored, ps_buf_span(&text));
    ps_buf_xappend(&stored, skippable, sizeof skippable);
    expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&text), "zstd");
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

#ifdef PS_UNWRAP_LZ4
Test(unwrap, lz4_skippable_frames)
{
    static const uint8_t skippable[] = {0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'x', 'y', 'z'};
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 50);
    add_lz4(&stored, ps_buf_span(&text));
    ps_buf_xappend(&stored, skippable, sizeof skippable);
    expect_text(ps_buf_span(&stored), "auto", ps_buf_span(&text), "lz4");
    /* In front it could be either; asked for by name it is lz4. */
    stored.len = 0;
    ps_buf_xappend(&stored, skippable, sizeof skippable);
    add_lz4(&stored, ps_buf_span(&text));
    expect_text(ps_buf_span(&stored), "lz4", ps_buf_span(&text), "lz4");
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}
#endif

Test(unwrap, bombs_meet_the_ceilings)
{
    struct ps_buf zeros = PS_BUF_INIT;
    struct ps_buf gzip = PS_BUF_INIT;
    struct ps_buf zstd = PS_BUF_INIT;
    struct unwrap_limits ratio = {.max_ratio = 50};
    struct unwrap_limits size = {.max_out_bytes = 4 << 20};
    cr_assert_eq(ps_buf_reserve(&zeros, 8 << 20, NULL), PS_OK);
    memset(zeros.ptr, 0, 8 << 20);
    zeros.len = 8 << 20;
    add_gzip(&gzip, ps_buf_span(&zeros));
    add_zstd(&zstd, ps_buf_span(&zeros));
#ifdef PS_UNWRAP_BZ2
    struct ps_buf bz2 = PS_BUF_INIT;
    add_bz2(&bz2, ps_buf_span(&zeros));
    expect_fail(ps_buf_span(&bz2), "auto", &ratio, "unwrap_ceiling");
    ps_buf_fini(&bz2);
#endif
#ifdef PS_UNWRAP_XZ
    struct ps_buf xz = PS_BUF_INIT;
    add_xz(&xz, ps_buf_span(&zeros));
    expect_fail(ps_buf_span(&xz), "auto", &ratio, "unwrap_ceiling");
    ps_buf_fini(&xz);
#endif
#ifdef PS_UNWRAP_LZ4
    struct ps_buf lz4 = PS_BUF_INIT;
    add_lz4(&lz4, ps_buf_span(&zeros));
    expect_fail(ps_buf_span(&lz4), "auto", &size, "unwrap_ceiling");
    ps_buf_fini(&lz4);
#endif
    expect_fail(ps_buf_span(&gzip), "auto", &ratio, "unwrap_ceiling");
    expect_fail(ps_buf_span(&zstd), "auto", &ratio, "unwrap_ceiling");
    expect_fail(ps_buf_span(&gzip), "auto", &size, "unwrap_ceiling");
    expect_fail(ps_buf_span(&zstd), "auto", &size, "unwrap_ceiling");
    ps_buf_fini(&zeros);
    ps_buf_fini(&gzip);
    ps_buf_fini(&zstd);
}

Test(unwrap, zstd_window_ceiling)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 100 * 1000);
    add_zstd(&stored, ps_buf_span(&text));
    struct unwrap_limits small = {.max_window_bytes = 64 * 1024};
    struct unwrap_limits large = {.max_window_bytes = 8 << 20};
    expect_fail(ps_buf_span(&stored), "auto", &small, "unwrap_window");
    struct outcome outcome = unwrap_all_of(ps_buf_span(&stored), "auto", &large, (struct feed){0});
    cr_assert_eq(outcome.status, PS_OK, "%s", outcome.err.text);
    ps_buf_fini(&outcome.text);
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

Test(unwrap, foreign_formats_are_named)
{
    struct ps_error err =
        expect_fail(ps_span("PK\x03\x04 and more", 13), "auto", NULL, "compression_unknown");
    cr_assert(strstr(err.text, "zip") != NULL);
    err = expect_fail(ps_span("\x5D\x00\x00\x80\x00 and more", 14), "auto", NULL,
                      "compression_unknown");
    cr_assert(strstr(err.text, "lzma") != NULL);
    struct unwrap *unwrap = NULL;
    struct feed feed = {0};
    cr_assert_eq(unwrap_open("lzma", feed_pull, &feed, NULL, &unwrap, &err), PS_REFUSED);
}

Test(unwrap, a_pull_that_fails_passes_through)
{
    struct ps_buf text = PS_BUF_INIT;
    struct ps_buf stored = PS_BUF_INIT;
    add_text(&text, 3000);
    add_gzip(&stored, ps_buf_span(&text));
    struct feed feed = {.max_piece = 100, .fail_at = stored.len / 2};
    struct outcome outcome = unwrap_all_of(ps_buf_span(&stored), "auto", NULL, feed);
    cr_assert_eq(outcome.status, PS_AGAIN);
    cr_assert_gt(outcome.text.len, 0);
    cr_assert_eq(memcmp(outcome.text.ptr, text.ptr, outcome.text.len), 0);
    ps_buf_fini(&outcome.text);
    ps_buf_fini(&text);
    ps_buf_fini(&stored);
}

static bool
always_refuse(void *ctx, size_t bytes)
{
    (void)ctx;
    return bytes > 1000;
}

Test(unwrap, memory_refused_is_full)
{
    struct ps_buf stored = PS_BUF_INIT;
    add_gzip(&stored, ps_span_str("a,b\n1,2\n"));
    struct feed feed = {.stored = ps_buf_span(&stored), .max_piece = 100};
    struct unwrap *unwrap = NULL;
    struct ps_error err = {0};
    uint8_t out[64];
    size_t n = 0;
    cr_assert_eq(unwrap_open("auto", feed_pull, &feed, NULL, &unwrap, &err), PS_OK);
    ps_alloc_set_fault(always_refuse, NULL);
    cr_assert_eq(unwrap_read(unwrap, out, sizeof out, &n, &err), PS_FULL);
    ps_alloc_set_fault(NULL, NULL);
    unwrap_close(unwrap);
    ps_buf_fini(&stored);
}
