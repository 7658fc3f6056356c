/* SPDX-License-Identifier: Apache-2.0 */
/* agent/source/src_gen.c: CSV rows made from a seed, with faults on demand.
 * source.objects objects of source.rows rows each, all rows of one width, so that any offset can be
 * made at once. Row r of object o depends on (seed, o, r) only. Every source.bad_every-th row is
 * bad: in turn one field too many, one too few, a byte that is not UTF-8, a word for a number. The
 * version is the text of these numbers: other numbers are other objects. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/source/source.h"
#include "common/alloc.h"
#include "common/rand.h"

enum { ROW_BYTES = 128, KEY_BYTES = 32, VERSION_BYTES = 64 };

static const char header[] = "id,at,city,amount,price,flag,note\n";
enum { HEADER_BYTES = sizeof header - 1 };

struct source {
    uint64_t objects;
    uint64_t rows;
    uint64_t seed;
    uint64_t bad_every; /* 0 = never */
    const _Atomic bool *cancel;
};

struct source_reader {
    const struct source *source;
    uint64_t object;
    uint64_t at;
};

static enum ps_status
gen_open(const struct spec *spec, const struct source_env *env, struct source **out,
         struct ps_error *err)
{
    (void)err;
    struct source *source = ps_xcalloc(1, sizeof *source);
    source->objects = (uint64_t)spec_int(spec, "source.objects");
    source->rows = (uint64_t)spec_int(spec, "source.rows");
    source->seed = (uint64_t)spec_int(spec, "source.seed");
    source->bad_every = (uint64_t)spec_int(spec, "source.bad_every");
    source->cancel = env->cancel;
    *out = source;
    return PS_OK;
}

static void
gen_close(struct source *source)
{
    ps_free(source);
}

static uint64_t
size_bytes(const struct source *source)
{
    return HEADER_BYTES + source->rows * ROW_BYTES;
}

static size_t
version_of(const struct source *source, char out[VERSION_BYTES])
{
    int n = snprintf(out, VERSION_BYTES, "g1-%" PRIx64 "-%" PRIx64 "-%" PRIx64, source->seed,
                     source->rows, source->bad_every);
    return (size_t)n;
}

/* False: no key of ours. */
static bool
number_of(struct ps_span key, uint64_t *out)
{
    char text[KEY_BYTES] = "";
    if (key.len >= sizeof text) {
        return false;
    }
    memcpy(text, key.ptr, key.len);
    return sscanf(text, "gen/%" SCNu64 ".csv", out) == 1;
}

static enum ps_status
gen_discover(struct source *source, struct source_page *page, struct ps_error *err)
{
    uint64_t i = 0;
    char version[VERSION_BYTES];
    size_t version_len = version_of(source, version);
    if (page->after.len > 0 && number_of(page->after, &i)) {
        i++;
    }
    for (size_t given = 0; given < page->limit && i < source->objects; given++, i++) {
        char key[KEY_BYTES];
        int len = snprintf(key, sizeof key, "gen/%08" PRIu64 ".csv", i);
        struct source_object object = {.key = ps_span(key, (size_t)len),
                                       .version = ps_span(version, version_len),
                                       .size_bytes = size_bytes(source)};
        if (source->cancel != NULL && atomic_load(source->cancel)) {
            return ps_fail(err, PS_CANCELED, "canceled");
        }
        enum ps_status status = page->found(page->ctx, &object, err);
        if (status != PS_OK) {
            return status;
        }
    }
    page->last = i >= source->objects;
    page->unsettled = 0;
    return PS_OK;
}

static enum ps_status
gen_open_object(struct source *source, struct ps_span key, struct ps_span version,
                struct source_reader **out, struct ps_error *err)
{
    uint64_t object = 0;
    char now[VERSION_BYTES];
    if (!number_of(key, &object) || object >= source->objects) {
        return ps_fail_code(err, PS_REFUSED, "source_missing", "no such object");
    }
    if (!ps_span_eq(version, ps_span(now, version_of(source, now)))) {
        return ps_fail_code(err, PS_BADDATA, "source_changed", "made from other numbers");
    }
    struct source_reader *reader = ps_xcalloc(1, sizeof *reader);
    reader->source = source;
    reader->object = object;
    *out = reader;
    return PS_OK;
}

/* ---------------------------------------------------------------- rows */

enum fault { GOOD, TOO_MANY, TOO_FEW, NOT_UTF8, NO_NUMBER, FAULTS };

static enum fault
fault_of(const struct source *source, uint64_t row)
{
    if (source->bad_every == 0 || (row + 1) % source->bad_every != 0) {
        return GOOD;
    }
    return (enum fault)(TOO_MANY + (row + 1) / source->bad_every % (FAULTS - 1));
}

/* Fills the row behind `at` with a quoted note, padded to the row's width. */
static void
write_note(char row[ROW_BYTES], size_t at, enum fault fault, uint64_t random)
{
    /* Its doubled quotes come first: what is before the note leaves room for more than them. */
    static const char words[] = "slow, \"\"fast\"\" and ";
    static const char filler[] = "late in the evening of the second day ";
    row[at++] = '"';
    for (size_t i = random % 7; at < ROW_BYTES - 2; at++, i++) {
        row[at] = i < sizeof words - 1 ? words[i] : filler[i % (sizeof filler - 1)];
    }
    if (fault == NOT_UTF8) {
        row[at - 1] = (char)0xFF;
    }
    row[at++] = '"';
    row[at] = '\n';
}

static void
make_row(const struct source_reader *reader, uint64_t row, char out[ROW_BYTES])
{
    static const char *const cities[] = {"Oslo", "São Paulo", "Kyōto", "\"Paris, FR\"", ""};
    const struct source *source = reader->source;
    struct ps_rand rand;
    ps_rand_seed(&rand, source->seed ^ (reader->object * 0x9E3779B97F4A7C15U) ^ (row << 1));
    enum fault fault = fault_of(source, row);
    uint64_t a = ps_rand_next(&rand);
    uint64_t b = ps_rand_next(&rand);
    uint64_t id = reader->object * source->rows + row;
    int n = snprintf(out, ROW_BYTES, "%" PRIu64 ",2026-%02u-%02uT%02u:%02u:00,%s,", id,
                     (unsigned)(a % 12) + 1, (unsigned)(a >> 8) % 28 + 1, (unsigned)(a >> 16) % 24,
                     (unsigned)(a >> 24) % 60, cities[(a >> 32) % 5]);
    size_t at = (size_t)n;
    if (fault == NO_NUMBER) {
        n = snprintf(out + at, ROW_BYTES - at, "many,%u.25,%s,", (unsigned)(b % 1000),
                     b % 2 == 0 ? "yes" : "no");
    } else {
        n = snprintf(out + at, ROW_BYTES - at, "%u,%u.25,%s,%s", (unsigned)(b >> 32) % 100000,
                     (unsigned)(b % 1000), b % 2 == 0 ? "yes" : "no",
                     fault == TOO_MANY ? "more," : "");
    }
    at += (size_t)n;
    at -= fault == TOO_FEW ? 1 : 0; /* the last comma: the quote then stands inside the field */
    write_note(out, at, fault, b);
    if (fault == TOO_FEW) {
        for (size_t i = at; i < ROW_BYTES - 1; i++) {
            out[i] = out[i] == '"' || out[i] == ',' ? 'x' : out[i];
        }
    }
}

static enum ps_status
gen_read(struct source_reader *reader, uint8_t *out, size_t cap, size_t *out_n,
         struct ps_error *err)
{
    (void)err;
    uint64_t end = size_bytes(reader->source);
    size_t n = 0;
    while (n < cap && reader->at < end) {
        char row[ROW_BYTES];
        const char *from = header;
        size_t offset = (size_t)reader->at;
        size_t len = HEADER_BYTES;
        if (reader->at >= HEADER_BYTES) {
            make_row(reader, (reader->at - HEADER_BYTES) / ROW_BYTES, row);
            from = row;
            offset = (reader->at - HEADER_BYTES) % ROW_BYTES;
            len = ROW_BYTES;
        }
        size_t take = len - offset < cap - n ? len - offset : cap - n;
        memcpy(out + n, from + offset, take);
        n += take;
        reader->at += take;
    }
    *out_n = n;
    return PS_OK;
}

static enum ps_status
gen_seek(struct source_reader *reader, uint64_t offset, struct ps_error *err)
{
    if (offset > size_bytes(reader->source)) {
        return ps_fail_code(err, PS_BADDATA, "source_changed", "offset behind the object's end");
    }
    reader->at = offset;
    return PS_OK;
}

static enum ps_status
gen_verify(struct source_reader *reader, struct ps_error *err)
{
    (void)reader;
    (void)err;
    return PS_OK;
}

static void
gen_close_object(struct source_reader *reader)
{
    ps_free(reader);
}

extern const struct source_ops src_gen_ops;
const struct source_ops src_gen_ops = {
    .scheme = "gen",
    .help = "CSV rows made from a seed, with faults on demand",
    .open = gen_open,
    .close = gen_close,
    .discover = gen_discover,
    .open_object = gen_open_object,
    .read = gen_read,
    .seek = gen_seek,
    .verify = gen_verify,
    .close_object = gen_close_object,
};
