/* SPDX-License-Identifier: Apache-2.0 */
/* agent/decode/dec_csv.h: the CSV decoder's inside, shared by its files and its tests only.
 * dec_csv.c: life, phases before the first record.  csv_rows.c: records and rejects.
 * csv_header.c: names.  csv_token.c: the resume token. */
#ifndef AGENT_DECODE_DEC_CSV_H
#define AGENT_DECODE_DEC_CSV_H

#include "agent/decode/csv_index.h"
#include "agent/decode/csv_scan.h"
#include "agent/decode/decode.h"

enum { CSV_RAW_MAX = 64 * 1024, CSV_REASON_BYTES = 400 };

/* What the object's begin still has to tell. Each is left for the next one only. */
enum csv_phase {
    CSV_PHASE_BOM,
    CSV_PHASE_LINE_END,
    CSV_PHASE_SKIP,
    CSV_PHASE_DELIMITER,
    CSV_PHASE_HEADER,
    CSV_PHASE_ROWS
};

struct decoder {
    struct csv_dialect given;   /* the spec's */
    struct csv_dialect dialect; /* with what was detected */
    enum csv_phase phase;
    bool big_endian; /* UTF-16 */
    uint64_t skip_left;
    uint64_t offset; /* of the boundary: every byte before it is done with */
    uint64_t line;   /* that begins there, 1-based; from CSV_LINE_UNKNOWN on: nobody knows */

    uint32_t width;        /* fields of the header or the first record */
    struct ps_span *names; /* width of them, NUL-terminated, in name_bytes */
    struct ps_buf name_bytes;
    bool names_told;
    bool names_made; /* c1, c2, …: there is no header */

    struct csv_fields fields;
    struct csv_index *index;
    csv_index_fn kernel; /* NULL: this dialect has no fast way */
    bool kernel_forced;  /* to forced, by a test */
    csv_index_fn forced;
    uint32_t chunk_bytes;
    struct ps_buf scratch; /* unescaped fields of one record */
    struct ps_buf wide;    /* UTF-16 windows as UTF-8 */

    bool in_long; /* inside a record or comment longer than the limit */
    struct csv_skip skip;
    uint64_t long_begin;
    uint64_t jump_at; /* the byte before the cut of a jump; 0 = there was none */
    struct ps_buf long_raw;

    char reason[CSV_REASON_BYTES];
};

/* Beyond any line; behind a jump it goes on counting from here. */
#define CSV_LINE_UNKNOWN (UINT64_C(1) << 63)
static inline uint64_t
csv_line(const struct decoder *decoder)
{
    return decoder->line >= CSV_LINE_UNKNOWN ? 0 : decoder->line;
}

/* One call of run: the text that is scanned and how it maps to the raw window. */
struct csv_run {
    struct decoder *decoder;
    const struct decode_sink *sink;
    struct ps_error *err;
    const uint8_t *base; /* the text: the window itself, or its UTF-8 form */
    const uint8_t *at;   /* boundary: all before it is done with */
    const uint8_t *end;
    bool eof;
    bool stopped;
    bool waits; /* no whole record is left */
    uint64_t stop_at;
    const uint8_t *raw; /* the window as it came */
    uint64_t raw_base;  /* its absolute offset */
    bool mapped;        /* text is not the raw bytes */
    const uint8_t *map_at;
    uint64_t map_raw; /* absolute raw offset of map_at */
};

/* Absolute offset of p; p never goes back between calls by more than the boundary. */
uint64_t csv_run_offset_mapped(struct csv_run *run, const uint8_t *p);
static inline uint64_t
csv_run_offset(struct csv_run *run, const uint8_t *p)
{
    return run->mapped ? csv_run_offset_mapped(run, p) : run->raw_base + (uint64_t)(p - run->base);
}
/* The boundary is p now, lines further down. */
static inline void
csv_run_advance(struct csv_run *run, const uint8_t *p, uint64_t lines)
{
    run->at = p;
    run->decoder->line += lines;
    run->decoder->offset = csv_run_offset(run, p);
    run->stopped = run->decoder->offset >= run->stop_at;
}

/* ---- csv_rows.c */
PS_MUSTCHECK enum ps_status csv_rows(struct csv_run *run);
/* Goes on with a too long record; also begins it at run->at when state says how. */
PS_MUSTCHECK enum ps_status csv_long_begin(struct csv_run *run);
PS_MUSTCHECK enum ps_status csv_long_run(struct csv_run *run);
bool csv_too_long(struct csv_run *run);
/* Whether what csv_scan found at run->at is longer than the limit, whatever the window is. */
bool csv_scan_too_long(struct csv_run *run, enum csv_kind kind, const struct csv_scan *scan);
PS_MUSTCHECK enum ps_status csv_reject_bad(struct csv_run *run, const struct csv_scan *scan);

/* ---- csv_header.c */
/* Names from the record in decoder->fields; PS_BADDATA "bad_header". */
PS_MUSTCHECK enum ps_status csv_header_take(struct decoder *decoder, struct ps_error *err);
/* c1, c2, … for objects without a header. */
PS_MUSTCHECK enum ps_status csv_header_number(struct decoder *decoder, uint32_t width,
                                              struct ps_error *err);
/* Whether the record in decoder->fields looks like a header: every field has a text that is no
 * number, and no two are alike. */
bool csv_header_looks(const struct decoder *decoder);
PS_MUSTCHECK enum ps_status csv_header_tell(struct csv_run *run);
/* Appends one name; the spans are made by csv_header_spans when all are there. */
PS_MUSTCHECK enum ps_status csv_header_add(struct decoder *decoder, struct ps_span name,
                                           struct ps_error *err);
PS_MUSTCHECK enum ps_status csv_header_spans(struct decoder *decoder, uint32_t width,
                                             struct ps_error *err);

/* ---- csv_token.c */
PS_MUSTCHECK enum ps_status csv_token_write(const struct decoder *decoder, struct ps_buf *out,
                                            struct ps_error *err);
PS_MUSTCHECK enum ps_status csv_token_read(struct decoder *decoder, struct ps_span token,
                                           uint64_t offset, struct ps_error *err);

/* ---- dec_csv.c */
PS_MUSTCHECK enum ps_status csv_open(const struct csv_dialect *dialect, struct ps_span resume,
                                     uint64_t offset, struct decoder **out, struct ps_error *err);
/* Chooses the kernel once the dialect is whole; scalar_only for tests. */
PS_MUSTCHECK enum ps_status csv_choose_kernel(struct decoder *decoder, struct ps_error *err);
/* For tests and fuzzing, right after csv_open: NULL = byte by byte always. */
void csv_kernel_force(struct decoder *decoder, csv_index_fn kernel);
PS_MUSTCHECK enum ps_status csv_run(struct decoder *decoder, const uint8_t *window, size_t len,
                                    bool eof, uint64_t stop_at, const struct decode_sink *sink,
                                    size_t *out_consumed, bool *out_stopped, struct ps_error *err);
void csv_close(struct decoder *decoder);
extern const struct decode_ops dec_csv_ops;

#endif
