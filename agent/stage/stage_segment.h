/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stage/stage_segment.h: one batch's rows and rejects in one file.
 * In: finished blocks and encoded rejects, from one writer.  Out: the same, checksummed, after
 * seal; in a later process too. Invariant: a file named BATCH-ID.EPOCH.seg was whole and fsynced
 * before it got that name; while it is being written its name ends in .tmp. A file whose write or
 * fsync failed is condemned: every later call fails, and it is never fsynced again. Threads: one
 * owner at a time.
 *
 * File: header (64 bytes: magic "PSSG", format, ncols, 0, batch id, epoch, 16 zero bytes, XXH3-64
 * of what precedes) and frames, all numbers little-endian. A frame begins with 32 bytes: a block's
 * own header (agent/block/block.h), or magic "PSRJ" / "PSMF" / "PSEN", format, count, 0, len,
 * XXH3-64 of the payload. Rejects: encoded as stage_reject.h says. Manifest: at most one, opaque
 * here, count 0: what a later process needs to load the batch; a file without is of no use to one.
 * End: count is the number of frames before it, payload is rows, rejects and a chained XXH3-64 of
 * the heads of all frames before it (8 bytes each). Nothing follows the end. */
#ifndef AGENT_STAGE_STAGE_SEGMENT_H
#define AGENT_STAGE_STAGE_SEGMENT_H

#include "agent/block/block.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/ids.h"

enum { STAGE_SEGMENT_FORMAT = 2, STAGE_SEGMENT_NAME_BYTES = 72 };

struct stage_segment; /* opaque */

/* Creates BATCH-ID.EPOCH.seg.tmp (0600) in the folder dir_fd, which stays the caller's. */
PS_MUSTCHECK enum ps_status stage_segment_create(int dir_fd, struct batch_id id, uint64_t epoch,
                                                 uint32_t ncols, struct stage_segment **out,
                                                 struct ps_error *err);
PS_MUSTCHECK enum ps_status stage_segment_put_block(struct stage_segment *segment,
                                                    const struct block *block,
                                                    struct ps_error *err);
/* Encoded rejects; count of them. */
PS_MUSTCHECK enum ps_status stage_segment_put_rejects(struct stage_segment *segment,
                                                      struct ps_span encoded, uint32_t count,
                                                      struct ps_error *err);
struct stage_segment_totals {
    uint64_t rows, rejects;
    struct ps_span manifest; /* none: the file ends with this process */
};
/* Manifest and end frame, fsync, rename into place, fsync of the folder. */
PS_MUSTCHECK enum ps_status stage_segment_seal(struct stage_segment *segment,
                                               const struct stage_segment_totals *totals,
                                               struct ps_error *err);
uint64_t stage_segment_bytes(const struct stage_segment *segment);

/* What a file in the folder says of itself. */
struct stage_segment_label {
    struct batch_id id;
    uint64_t epoch;
    uint64_t bytes; /* of the file */
};
/* Its name and its first bytes agree. PS_BADDATA, code "stage_corrupt", when they do not, when it
 * is of another format or is no file. */
PS_MUSTCHECK enum ps_status stage_segment_look(int dir_fd, const char *name,
                                               struct stage_segment_label *out,
                                               struct ps_error *err);
/* Opens a sealed file of another process (or an earlier one of this) and reads all of it: every
 * checksum, count and the manifest, which is put into *manifest. PS_BADDATA, code "stage_corrupt":
 * not one byte of it may be used; "stage_unreadable": the disk fails. out_totals->manifest is
 * borrowed from manifest. */
PS_MUSTCHECK enum ps_status stage_segment_open(int dir_fd, const struct stage_segment_label *label,
                                               struct stage_segment **out,
                                               struct stage_segment_totals *out_totals,
                                               struct ps_buf *manifest, struct ps_error *err);
uint32_t stage_segment_ncols(const struct stage_segment *segment);
void stage_segment_name(const struct stage_segment_label *label,
                        char out[STAGE_SEGMENT_NAME_BYTES]);

/* Two independent readers: where each is. Zero-initialised is "at the start". */
struct stage_segment_at {
    uint64_t offset;
};
/* The next block, into *block, whose bytes grow by ps_realloc as needed; *out_more is false at the
 * end. PS_BADDATA when the file is not what was written ("stage_corrupt") or cannot be read
 * ("stage_unreadable"). */
PS_MUSTCHECK enum ps_status stage_segment_next_block(struct stage_segment *segment,
                                                     struct stage_segment_at *at,
                                                     struct block *block, bool *out_more,
                                                     struct ps_error *err);
/* The next encoded rejects, into *buf (cleared first). */
PS_MUSTCHECK enum ps_status stage_segment_next_rejects(struct stage_segment *segment,
                                                       struct stage_segment_at *at,
                                                       struct ps_buf *buf, bool *out_more,
                                                       struct ps_error *err);
/* Closes and unlinks. NULL is fine. */
void stage_segment_remove(struct stage_segment *segment);
/* Closes a sealed one; its file stays. */
void stage_segment_close(struct stage_segment *segment);

#endif
