/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stage/stage_reject.h: rejects as bytes, the same in memory and in a segment.
 * One reject: range_index u32, offset, length, line u64, the lengths of column, code, reason and
 * raw u32 each, then those bytes; little-endian.
 * Threads: pure functions. */
#ifndef AGENT_STAGE_STAGE_REJECT_H
#define AGENT_STAGE_STAGE_REJECT_H

#include "agent/stage/stage.h"
#include "common/buf.h"

enum { STAGE_REJECT_HEADER_BYTES = 44, STAGE_REJECT_RAW_MAX = 64 * 1024 };

/* Appends; raw is cut to STAGE_REJECT_RAW_MAX. The buffer is unchanged on failure. */
PS_MUSTCHECK enum ps_status
stage_reject_encode(struct ps_buf *buf, const struct stage_reject *reject, struct ps_error *err);
/* Takes the first reject off *rest; the spans are borrowed from it. */
PS_MUSTCHECK enum ps_status stage_reject_decode(struct ps_span *rest, struct stage_reject *out,
                                                struct ps_error *err);

#endif
