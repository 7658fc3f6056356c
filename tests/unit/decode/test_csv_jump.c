/* SPDX-License-Identifier: Apache-2.0 */
/* An object entered in its middle: where the first record there begins, exactly or as a guess, and
 * that from a proven start on nothing differs from the object read in one go. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>

#include "tests/support/csv_samples.h"
#include "tests/support/decode_log.h"

enum { BOUNDARIES_MAX = 1024 };

struct object {
    const uint8_t *bytes;
    size_t len;
};

/* What comes out, without lines: a jump does not know them. */
struct tape {
    struct ps_buf out;
    uint64_t from; /* what begins before it is not written */
};

static enum ps_status
on_record(void *ctx, const struct record *record, struct ps_error *err)
{
    struct tape *tape = ctx;
    (void)err;
    if (record->offset < tape->from) {
        return PS_OK;
    }
    ps_buf_xprintf(&tape->out, "R %" PRIu64 " %" PRIu64, record->offset, record->length);
    for (uint32_t i = 0; i < record->count; i++) {
        const struct field *field = &record->fields[i];
        ps_buf_xprintf(&tape->out, "|%s%u:", field->quoted ? "q" : "u", field->len);
        ps_buf_xappend(&tape->out, field->ptr, field->len);
    }
    ps_buf_xprintf(&tape->out, "\n");
    return PS_OK;
}

static enum ps_status
on_reject(void *ctx, const struct decode_reject *reject, struct ps_error *err)
{
    struct tape *tape = ctx;
    (void)err;
    if (reject->offset >= tape->from) {
        ps_buf_xprintf(&tape->out, "X %" PRIu64 " %" PRIu64 " %s %s\n", reject->offset,
                       reject->length, reject->code, reject->reason);
    }
    return PS_OK;
}

/* Runs until stop_at or the object's end, in windows of step bytes; the decoder's offset is where
 * the first window begins. */
static void
run(struct decoder *decoder, const struct object *object, uint64_t stop_at, size_t step,
    struct tape *tape)
{
    const struct decode_sink sink = {.ctx = tape, .record = on_record, .reject = on_reject};
    size_t at = (size_t)dec_csv_ops.offset(decoder);
    size_t shown = at;
    bool stopped = false;
    bool eof = false;
    struct ps_error err;
    while (!stopped && !eof) {
        shown = step == 0 || object->len - shown < step ? object->len : shown + step;
        eof = shown == object->len;
        uint8_t *window = malloc(shown - at + 1);
        memcpy(window, object->bytes + at, shown - at);
        size_t consumed = 0;
        cr_assert_eq(dec_csv_ops.run(decoder, window, shown - at, eof, stop_at, &sink, &consumed,
                                     &stopped, &err),
                     PS_OK, "%s", err.text);
        at += consumed;
        free(window);
    }
}

/* A decoder that stands at the first boundary behind the header; NULL: the object has none. */
static struct decoder *
at_first_rows(const struct csv_dialect *dialect, const struct object *object,
              struct ps_buf *out_token)
{
    struct tape tape = {.from = UINT64_MAX};
    const struct decode_sink sink = {.ctx = &tape, .record = on_record, .reject = on_reject};
    struct decoder *decoder = NULL;
    struct ps_error err;
    cr_assert_eq(csv_open(dialect, ps_span(NULL, 0), 0, &decoder, &err), PS_OK);
    bool stopped = true;
    for (uint64_t stop = 1; stopped; stop++) {
        size_t at = (size_t)dec_csv_ops.offset(decoder);
        size_t consumed = 0;
        if (dec_csv_ops.run(decoder, object->bytes + at, object->len - at, true, stop, &sink,
                            &consumed, &stopped, &err) != PS_OK) {
            break;
        }
        if (stopped && decoder->phase == CSV_PHASE_ROWS) {
            cr_assert_eq(dec_csv_ops.token(decoder, out_token, &err), PS_OK);
            return decoder;
        }
    }
    csv_close(decoder);
    return NULL;
}

static struct decoder *
reopen(const struct csv_dialect *dialect, const struct ps_buf *token, uint64_t anchor,
       enum decode_kernel kernel)
{
    struct decoder *decoder = NULL;
    struct ps_error err;
    cr_assert_eq(csv_open(dialect, ps_buf_span(token), anchor, &decoder, &err), PS_OK, "%s",
                 err.text);
    if (kernel != KERNEL_BEST) {
        csv_kernel_force(decoder, kernel == KERNEL_SCALAR ? csv_index_scalar : NULL);
    }
    return decoder;
}

struct entry {
    const struct csv_dialect *dialect;
    const struct object *object;
    const struct ps_buf *token;
    uint64_t anchor;
    enum decode_kernel kernel;
    size_t step;
    const char *what;
};

/* The first boundary at or after cut, from all that stands before. */
static uint64_t
true_start(const struct entry *entry, uint64_t cut)
{
    struct tape tape = {.from = UINT64_MAX};
    struct decoder *decoder = reopen(entry->dialect, entry->token, entry->anchor, KERNEL_BEST);
    run(decoder, entry->object, cut, 0, &tape);
    uint64_t start = dec_csv_ops.offset(decoder);
    csv_close(decoder);
    return start;
}

/* Jumps and finds the start; then, where it is the true one, reads to the end. */
static uint64_t
enter(const struct entry *entry, uint64_t cut, uint64_t wanted, struct ps_buf *out)
{
    struct tape tape = {.out = *out};
    struct decoder *decoder = reopen(entry->dialect, entry->token, entry->anchor, entry->kernel);
    dec_csv_ops.jump(decoder, cut);
    run(decoder, entry->object, cut, entry->step, &tape);
    uint64_t start = dec_csv_ops.offset(decoder);
    cr_assert_eq(tape.out.len, 0, "%s: something is said of a jump", entry->what);
    if (start == wanted) {
        run(decoder, entry->object, UINT64_MAX, entry->step, &tape);
    }
    *out = tape.out;
    csv_close(decoder);
    return start;
}

static void
every_cut(const struct entry *entry, enum decode_split split, unsigned counts[2])
{
    for (uint64_t cut = entry->anchor > 0 ? entry->anchor : 1; cut <= entry->object->len; cut++) {
        uint64_t start = true_start(entry, cut);
        struct tape wanted = {.from = start};
        struct ps_buf found = PS_BUF_INIT;
        struct decoder *decoder = reopen(entry->dialect, entry->token, entry->anchor, KERNEL_NONE);
        run(decoder, entry->object, UINT64_MAX, 0, &wanted);
        csv_close(decoder);
        uint64_t guess = enter(entry, cut, start, &found);
        counts[guess == start]++;
        if (guess != start) {
            cr_assert_eq(split, DECODE_SPLIT_GUESS,
                         "%s: cut %" PRIu64 " begins at %" PRIu64 ", not %" PRIu64, entry->what,
                         cut, start, guess);
            /* Said again with the truth it stands there. */
            cr_assert_eq(enter(entry, start, start, &found), start, "%s: a proven start %" PRIu64,
                         entry->what, start);
        }
        cr_assert_str_eq(ps_buf_str(&found), ps_buf_str(&wanted.out), "%s, cut %" PRIu64 "\n%.*s",
                         entry->what, cut, (int)entry->object->len, entry->object->bytes);
        ps_buf_fini(&found);
        ps_buf_fini(&wanted.out);
    }
}

static void
every_way(const struct csv_dialect *dialect, const struct object *object, const char *what,
          unsigned counts[2])
{
    struct ps_buf token = PS_BUF_INIT;
    struct decoder *decoder = at_first_rows(dialect, object, &token);
    if (decoder != NULL) {
        struct entry entry = {.dialect = dialect,
                              .object = object,
                              .token = &token,
                              .anchor = dec_csv_ops.offset(decoder),
                              .what = what};
        enum decode_split split = dec_csv_ops.split(decoder);
        csv_close(decoder);
        for (int kernel = KERNEL_BEST; kernel <= KERNEL_NONE; kernel++) {
            entry.kernel = (enum decode_kernel)kernel;
            entry.step = kernel == KERNEL_SCALAR ? 1 : kernel == KERNEL_NONE ? 5 : 0;
            every_cut(&entry, split, counts);
        }
    }
    ps_buf_fini(&token);
}

Test(csv_jump, every_cut_of_every_oddity, .timeout = 250)
{
    unsigned counts[2] = {0};
    for (size_t d = 0; d < sizeof csv_sample_dialects / sizeof *csv_sample_dialects; d++) {
        for (size_t i = 0; i < CSV_SAMPLES; i++) {
            struct object object = {.bytes = (const uint8_t *)csv_samples[i],
                                    .len = csv_sample_len(csv_samples[i])};
            every_way(&csv_sample_dialects[d].dialect, &object, csv_sample_dialects[d].name,
                      counts);
        }
    }
    cr_assert(counts[0] > 100 && counts[1] > 1000, "%u wrong and %u right guesses", counts[0],
              counts[1]);
}

Test(csv_jump, what_can_be_entered_exactly)
{
    static const struct object object = {(const uint8_t *)"a,b\r\n1,2\r\n3,4\r\n", 15};
    static const struct {
        struct csv_dialect dialect;
        enum decode_split split;
    } cases[] = {
        {{.quote = '"'}, DECODE_SPLIT_GUESS},
        {{.quote = '"', .one_line = true}, DECODE_SPLIT_EXACT},
        {{.quote = 0}, DECODE_SPLIT_EXACT},
        {{.quote = 0, .escape = '\\'}, DECODE_SPLIT_GUESS},
        {{.quote = 0, .line_end = CSV_LINE_CRLF}, DECODE_SPLIT_GUESS},
        {{.quote = '"', .one_line = true, .line_end = CSV_LINE_LF}, DECODE_SPLIT_EXACT},
        {{.quote = '"', .one_line = true, .encoding = CSV_LATIN1}, DECODE_SPLIT_EXACT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct csv_dialect dialect = cases[i].dialect;
        struct ps_buf token = PS_BUF_INIT;
        struct ps_error err;
        cr_assert_eq(csv_mark_set(&dialect.delimiter, "delimiter", ",", &err), PS_OK);
        dialect.max_record_bytes = 1000;
        dialect.max_columns = 10;
        struct decoder *decoder = at_first_rows(&dialect, &object, &token);
        cr_assert_not_null(decoder);
        cr_assert_eq(dec_csv_ops.split(decoder), cases[i].split, "case %zu", i);
        csv_close(decoder);
        ps_buf_fini(&token);
    }
    struct csv_dialect wide = csv_dialect_default();
    struct decoder *decoder = NULL;
    struct ps_error err;
    wide.encoding = CSV_UTF16LE;
    cr_assert_eq(csv_open(&wide, ps_span(NULL, 0), 0, &decoder, &err), PS_OK);
    cr_assert_eq(dec_csv_ops.split(decoder), DECODE_SPLIT_NEVER);
    csv_close(decoder);
}

Test(csv_jump, a_token_behind_a_jump_says_that_lines_are_unknown)
{
    static const struct object object = {(const uint8_t *)"a,b\n1,2\n3,4\nx\n", 14};
    struct csv_dialect dialect = csv_dialect_default();
    struct ps_buf token = PS_BUF_INIT;
    struct ps_error err;
    struct tape tape = {0};
    struct decoder *decoder = at_first_rows(&dialect, &object, &token);
    dec_csv_ops.jump(decoder, 6);
    run(decoder, &object, 6, 0, &tape);
    cr_assert_eq(dec_csv_ops.token(decoder, &token, &err), PS_OK);
    csv_close(decoder);
    decoder = reopen(&dialect, &token, 8, KERNEL_BEST);
    run(decoder, &object, UINT64_MAX, 0, &tape);
    cr_assert_eq(csv_line(decoder), 0);
    cr_assert_str_eq(ps_buf_str(&tape.out),
                     "R 8 4|u1:3|u1:4\nX 12 2 ragged found 1 fields; 2 are expected\n");
    csv_close(decoder);
    ps_buf_fini(&tape.out);
    ps_buf_fini(&token);
}
