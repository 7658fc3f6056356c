/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode/dec_csv.h"

#include "agent/decode/dec_text.h"
#include "common/alloc.h"
#include "common/assert.h"

enum { WINDOW_MAX = 1 << 30, CHUNK_FIRST = 512 };

void
csv_kernel_force(struct decoder *decoder, csv_index_fn kernel)
{
    decoder->kernel_forced = true;
    decoder->forced = kernel;
    if (decoder->kernel != NULL) {
        decoder->kernel = kernel;
    }
}

enum ps_status
csv_choose_kernel(struct decoder *decoder, struct ps_error *err)
{
    const struct csv_dialect *dialect = &decoder->dialect;
    decoder->kernel = NULL;
    if (dialect->delimiter.len != 1 || dialect->escape != 0) {
        return PS_OK;
    }
    decoder->kernel = decoder->kernel_forced ? decoder->forced : csv_index_best();
    if (decoder->kernel != NULL && decoder->index == NULL) {
        decoder->index = ps_alloc(sizeof *decoder->index);
        if (decoder->index == NULL) {
            return ps_fail(err, PS_FULL, "csv: no memory for a decoder");
        }
    }
    if (decoder->kernel != NULL) {
        decoder->index->delimiter = dialect->delimiter.bytes[0];
        decoder->index->line = dialect->line_end == CSV_LINE_CR ? '\r' : '\n';
        decoder->index->quote = dialect->quote;
        decoder->index->quotes = dialect->quote != 0;
    }
    return PS_OK;
}

enum ps_status
csv_open(const struct csv_dialect *dialect, struct ps_span resume, uint64_t offset,
         struct decoder **out, struct ps_error *err)
{
    if (resume.len == 0 && offset != 0) {
        return ps_fail_code(err, PS_REFUSED, "resume_token",
                            "csv: offset %llu is no begin and comes without a resume token",
                            (unsigned long long)offset);
    }
    struct decoder *decoder = ps_calloc(1, sizeof *decoder);
    if (decoder == NULL) {
        return ps_fail(err, PS_FULL, "csv: no memory for a decoder");
    }
    decoder->given = *dialect;
    decoder->dialect = *dialect;
    decoder->skip_left = dialect->skip_lines;
    decoder->line = 1;
    decoder->offset = offset;
    decoder->chunk_bytes = CHUNK_FIRST;
    decoder->big_endian = dialect->encoding == CSV_UTF16BE;
    enum ps_status status = resume.len == 0 ? PS_OK : csv_token_read(decoder, resume, offset, err);
    if (status == PS_OK && decoder->phase == CSV_PHASE_ROWS) {
        status = csv_choose_kernel(decoder, err);
    }
    if (status != PS_OK) {
        csv_close(decoder);
        return status;
    }
    *out = decoder;
    return PS_OK;
}

void
csv_close(struct decoder *decoder)
{
    if (decoder == NULL) {
        return;
    }
    csv_fields_fini(&decoder->fields);
    ps_buf_fini(&decoder->name_bytes);
    ps_buf_fini(&decoder->scratch);
    ps_buf_fini(&decoder->wide);
    ps_buf_fini(&decoder->long_raw);
    ps_free(decoder->names);
    ps_free(decoder->index);
    ps_free(decoder);
}

uint64_t
csv_run_offset_mapped(struct csv_run *run, const uint8_t *p)
{
    if (p < run->map_at) {
        return run->map_raw - dec_text_utf16_raw(p, run->map_at);
    }
    run->map_raw += dec_text_utf16_raw(run->map_at, p);
    run->map_at = p;
    return run->map_raw;
}

/* ---- The object's begin, a phase a function. Each either goes to the next phase or waits. */

static enum ps_status
phase_bom(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    size_t len = (size_t)(run->end - run->at);
    if (len < 3 && !run->eof) {
        run->waits = true;
        return PS_OK;
    }
    if (decoder->dialect.encoding == CSV_UTF8 && len >= 2 &&
        ((run->at[0] == 0xFF && run->at[1] == 0xFE) ||
         (run->at[0] == 0xFE && run->at[1] == 0xFF))) {
        return ps_fail_code(run->err, PS_BADDATA, "bad_encoding",
                            "csv: the object begins with a UTF-16 byte order mark, UTF-8 is "
                            "expected; set format.encoding: utf-16");
    }
    decoder->phase = CSV_PHASE_LINE_END;
    if (decoder->dialect.encoding != CSV_LATIN1 && len >= 3 &&
        memcmp(run->at, "\xEF\xBB\xBF", 3) == 0) {
        csv_run_advance(run, run->at + 3, 0);
    }
    return PS_OK;
}

static bool
comment_here(const struct csv_run *run)
{
    const struct csv_mark *mark = &run->decoder->dialect.comment;
    return mark->len > 0 && (size_t)(run->end - run->at) >= mark->len &&
           memcmp(run->at, mark->bytes, mark->len) == 0;
}

/* How much of the text a detection may look at: the same whatever the window is. */
static const uint8_t *
detect_end(const struct csv_run *run, bool *out_final)
{
    uint64_t most = run->decoder->dialect.max_record_bytes;
    bool enough = (uint64_t)(run->end - run->at) > most;
    *out_final = enough || run->eof;
    return enough ? run->at + most : run->end;
}

/* The one of , ; tab | that stands most often before end and before the first line end, outside
 * quotes as far as a mere count of them can tell. 0 = more bytes are needed. */
static uint8_t
guess_delimiter(const struct csv_run *run, const uint8_t *end, bool final)
{
    static const uint8_t candidates[] = {',', ';', '\t', '|'};
    const struct csv_dialect *dialect = &run->decoder->dialect;
    size_t counts[sizeof candidates] = {0};
    bool inside = false;
    const uint8_t *p = run->at;
    for (; p < end && ((inside && !dialect->one_line) || (*p != '\n' && *p != '\r')); p++) {
        inside ^= dialect->quote != 0 && *p == dialect->quote;
        const uint8_t *hit = memchr(candidates, *p, sizeof candidates);
        if (hit != NULL && !inside) {
            counts[hit - candidates]++;
        }
    }
    if (p == end && !final) {
        return 0;
    }
    size_t best = 0;
    for (size_t i = 1; i < sizeof candidates; i++) {
        best = counts[i] > counts[best] ? i : best;
    }
    return candidates[best];
}

/* The byte after the first CR or LF that ends a line: outside quotes, unless the line is one to
 * skip or a comment. At the detection's end where there is none; NULL = more bytes are needed. */
static const uint8_t *
first_line(const struct csv_run *run, const uint8_t *end, bool final)
{
    const struct decoder *decoder = run->decoder;
    struct csv_dialect dialect = decoder->dialect;
    struct csv_skip skip = {.state = CSV_SKIP_BEGIN};
    const uint8_t *at = run->at;
    if (decoder->skip_left > 0 || dialect.one_line || comment_here(run)) {
        skip.state = CSV_SKIP_RESYNC;
    } else if (dialect.delimiter.len == 0) {
        dialect.delimiter.bytes[0] = guess_delimiter(run, end, final);
        dialect.delimiter.len = 1;
        if (dialect.delimiter.bytes[0] == 0) {
            return NULL;
        }
    }
    return csv_skip_run(&skip, &dialect, run->at, end, final, &at) ? at : NULL;
}

/* CSV_LINE_CR when the first line ends with a CR that no LF follows, else CSV_LINE_ANY. */
static enum ps_status
phase_line_end(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    bool final = false;
    const uint8_t *end = detect_end(run, &final);
    decoder->phase = CSV_PHASE_SKIP;
    if (decoder->dialect.line_end != CSV_LINE_AUTO) {
        return PS_OK;
    }
    const uint8_t *next = first_line(run, end, final);
    bool cr = next != NULL && next > run->at && next[-1] == '\r';
    if (next == NULL || (cr && next == end && !final)) {
        decoder->phase = CSV_PHASE_LINE_END;
        run->waits = true;
        return PS_OK;
    }
    decoder->dialect.line_end = cr && next < end && *next != '\n' ? CSV_LINE_CR : CSV_LINE_ANY;
    return PS_OK;
}

static enum ps_status
phase_skip(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    if (decoder->skip_left == 0) {
        decoder->phase = CSV_PHASE_DELIMITER;
        return PS_OK;
    }
    const uint8_t *next = csv_line_skip(decoder->dialect.line_end, run->at, run->end, run->eof);
    uint64_t line =
        csv_run_offset(run, next == NULL ? run->end : next) - csv_run_offset(run, run->at);
    if (line > decoder->dialect.max_record_bytes) {
        return ps_fail_code(run->err, PS_BADDATA, "bad_header",
                            "csv: a line to be skipped (format.skip_lines) is longer than "
                            "limits.max_record_bytes");
    }
    if (next == NULL) {
        run->waits = true;
        return PS_OK;
    }
    decoder->skip_left--;
    csv_run_advance(run, next, csv_lines_count(decoder->dialect.line_end, run->at, next));
    return PS_OK;
}

static enum ps_status
phase_delimiter(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    bool final = false;
    const uint8_t *end = detect_end(run, &final);
    if (decoder->dialect.delimiter.len == 0) {
        uint8_t guess = guess_delimiter(run, end, final);
        if (guess == 0) {
            run->waits = true;
            return PS_OK;
        }
        decoder->dialect.delimiter = (struct csv_mark){.bytes = {guess}, .len = 1};
    }
    decoder->phase = CSV_PHASE_HEADER;
    return csv_choose_kernel(decoder, run->err);
}

static bool
blank(const struct decoder *decoder)
{
    return decoder->fields.count == 1 && decoder->fields.items[0].len == 0 &&
           !decoder->fields.items[0].quoted;
}

/* The first record decides: names, and how many fields a record has. */
static enum ps_status
header_record(struct csv_run *run, const struct csv_scan *scan)
{
    struct decoder *decoder = run->decoder;
    enum csv_header header = decoder->dialect.header;
    if (blank(decoder)) {
        csv_run_advance(run, scan->end, scan->lines);
        return PS_OK;
    }
    if (header == CSV_HEADER_AUTO) {
        header = csv_header_looks(decoder) ? CSV_HEADER_TRUE : CSV_HEADER_FALSE;
    }
    uint32_t width = decoder->fields.count;
    enum ps_status status = header == CSV_HEADER_TRUE ? csv_header_take(decoder, run->err)
                                                      : csv_header_number(decoder, width, run->err);
    if (status != PS_OK) {
        return status;
    }
    decoder->phase = CSV_PHASE_ROWS;
    if (header == CSV_HEADER_TRUE) {
        csv_run_advance(run, scan->end, scan->lines);
    }
    return PS_OK;
}

static enum ps_status
phase_header(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    struct csv_scan scan = {0};
    enum csv_kind kind =
        csv_scan(&decoder->dialect, run->at, run->end, run->eof, &decoder->fields, &scan);
    if (kind == CSV_NOMEM) {
        return ps_fail(run->err, PS_FULL, "csv: no memory for the header's fields");
    }
    bool long_record = csv_scan_too_long(run, kind, &scan);
    if ((long_record || kind == CSV_BAD) && decoder->dialect.header == CSV_HEADER_TRUE &&
        !comment_here(run)) {
        return ps_fail_code(run->err, PS_BADDATA, "bad_header", "csv: the header at line %llu %s",
                            (unsigned long long)csv_line(decoder),
                            long_record ? "is longer than limits.max_record_bytes"
                                        : "has a quote that is not closed, or something behind a "
                                          "closing quote");
    }
    if (long_record) {
        return csv_long_begin(run);
    }
    switch (kind) {
    case CSV_MORE:
        run->waits = true;
        return PS_OK;
    case CSV_COMMENT:
        csv_run_advance(run, scan.end, scan.lines);
        return PS_OK;
    case CSV_BAD:
        return csv_reject_bad(run, &scan);
    case CSV_RECORD:
        return header_record(run, &scan);
    case CSV_NOMEM:
        break;
    }
    return PS_OK;
}

static enum ps_status
run_step(struct csv_run *run)
{
    struct decoder *decoder = run->decoder;
    if (decoder->in_long) {
        return csv_long_run(run);
    }
    switch (decoder->phase) {
    case CSV_PHASE_BOM:
        return phase_bom(run);
    case CSV_PHASE_LINE_END:
        return phase_line_end(run);
    case CSV_PHASE_SKIP:
        return phase_skip(run);
    case CSV_PHASE_DELIMITER:
        return phase_delimiter(run);
    case CSV_PHASE_HEADER:
        return phase_header(run);
    case CSV_PHASE_ROWS:
        break;
    }
    if (!decoder->names_told) {
        enum ps_status status = csv_header_tell(run);
        if (status != PS_OK) {
            return status;
        }
    }
    return csv_rows(run);
}

/* The text of a UTF-16 window; the byte order mark decides at the object's begin. */
static enum ps_status
map_utf16(struct csv_run *run, size_t len)
{
    struct decoder *decoder = run->decoder;
    size_t taken = 0;
    if (decoder->phase == CSV_PHASE_BOM && decoder->dialect.encoding == CSV_UTF16 && len >= 2) {
        decoder->big_endian = run->raw[0] == 0xFE && run->raw[1] == 0xFF;
    }
    ps_buf_clear(&decoder->wide);
    const struct dec_text_utf16 in = {
        .bytes = ps_span(run->raw, len), .eof = run->eof, .big_endian = decoder->big_endian};
    enum ps_status status = dec_text_utf16(&in, &decoder->wide, &taken, run->err);
    if (status != PS_OK) {
        return status;
    }
    run->eof = run->eof && taken == len;
    run->mapped = true;
    run->base = decoder->wide.ptr;
    run->at = run->base;
    run->end = run->base + decoder->wide.len;
    run->map_at = run->base;
    run->map_raw = run->raw_base;
    return PS_OK;
}

enum ps_status
csv_run(struct decoder *decoder, const uint8_t *window, size_t len, bool eof, uint64_t stop_at,
        const struct decode_sink *sink, size_t *out_consumed, bool *out_stopped,
        struct ps_error *err)
{
    if (len > WINDOW_MAX) {
        len = WINDOW_MAX;
        eof = false;
    }
    struct csv_run run = {
        .decoder = decoder,
        .sink = sink,
        .err = err,
        .base = window,
        .at = window,
        .end = window + len,
        .eof = eof,
        .stop_at = stop_at,
        .stopped = decoder->offset >= stop_at && !decoder->in_long,
        .raw = window,
        .raw_base = decoder->offset,
    };
    enum ps_status status = PS_OK;
    bool wide = decoder->dialect.encoding != CSV_UTF8 && decoder->dialect.encoding != CSV_LATIN1;
    if (wide && len > 0) {
        status = map_utf16(&run, len);
    }
    /* A record too long to be held has been taken as it came: its end may be all that is new. */
    while (status == PS_OK && !run.stopped && !run.waits &&
           (run.at < run.end || (run.eof && decoder->in_long))) {
        status = run_step(&run);
    }
    if (status == PS_OK && decoder->phase == CSV_PHASE_ROWS && !decoder->names_told) {
        status = csv_header_tell(&run); /* an object of a header only has names too */
    }
    *out_consumed = (size_t)(decoder->offset - run.raw_base);
    *out_stopped = run.stopped;
    return status;
}

static enum ps_status
ops_open(const struct spec *spec, struct ps_span resume, uint64_t offset, struct decoder **out,
         struct ps_error *err)
{
    struct csv_dialect dialect;
    enum ps_status status = csv_dialect_from_spec(spec, &dialect, err);
    return status == PS_OK ? csv_open(&dialect, resume, offset, out, err) : status;
}

static enum ps_status
ops_token(const struct decoder *decoder, struct ps_buf *out, struct ps_error *err)
{
    PS_ASSERT(!decoder->in_long);
    return csv_token_write(decoder, out, err);
}

static uint64_t
ops_offset(const struct decoder *decoder)
{
    return decoder->offset;
}

static void
ops_describe(const struct decoder *decoder, struct ps_buf *out)
{
    if (decoder->given.delimiter.len == 0 && decoder->dialect.delimiter.len > 0) {
        uint8_t byte = decoder->dialect.delimiter.bytes[0];
        ps_buf_xprintf(out, "The delimiter is %s%.*s%s. ", byte == '\t' ? "a tab" : "\"",
                       byte == '\t' ? 0 : 1, (const char *)&byte, byte == '\t' ? "" : "\"");
    }
    if (decoder->given.header == CSV_HEADER_AUTO && decoder->phase == CSV_PHASE_ROWS) {
        ps_buf_xprintf(out, decoder->names_made ? "The first record holds data, not names. "
                                                : "The first record names the fields. ");
    }
    if (decoder->dialect.line_end == CSV_LINE_CR && decoder->given.line_end == CSV_LINE_AUTO) {
        ps_buf_xprintf(out, "Lines end with CR. ");
    }
}

static enum decode_split
ops_split(const struct decoder *decoder)
{
    const struct csv_dialect *dialect = &decoder->dialect;
    if (decoder->phase != CSV_PHASE_ROWS ||
        (dialect->encoding != CSV_UTF8 && dialect->encoding != CSV_LATIN1)) {
        return DECODE_SPLIT_NEVER;
    }
    /* Of CR LF one byte may lie before what a jump is shown. */
    bool line_ends = dialect->one_line || (dialect->quote == 0 && dialect->escape == 0);
    return line_ends && dialect->line_end != CSV_LINE_CRLF ? DECODE_SPLIT_EXACT
                                                           : DECODE_SPLIT_GUESS;
}

static void
ops_jump(struct decoder *decoder, uint64_t cut)
{
    PS_ASSERT(cut > decoder->offset || (cut == decoder->offset && cut > 0));
    decoder->offset = cut - 1;
    decoder->line = CSV_LINE_UNKNOWN;
    decoder->in_long = true; /* as a comment: nothing is said of it */
    decoder->skip = (struct csv_skip){.state = CSV_SKIP_COMMENT};
    decoder->jump_at = cut - 1;
    decoder->long_begin = cut - 1;
    ps_buf_clear(&decoder->long_raw);
}

const struct decode_ops dec_csv_ops = {
    .name = "csv",
    .help = "separated values, RFC 4180 and its relatives",
    .open = ops_open,
    .run = csv_run,
    .token = ops_token,
    .offset = ops_offset,
    .describe = ops_describe,
    .split = ops_split,
    .jump = ops_jump,
    .close = csv_close,
};
