/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_decide.h: what a leaf decides, apart from what it does.
 * Pure: no clock, socket, file or thread, so that a simulator can drive it. */
#ifndef AGENT_LEAF_LEAF_DECIDE_H
#define AGENT_LEAF_LEAF_DECIDE_H

#include "agent/dest/dest.h"
#include "common/error.h"
#include "proto/frame.h"

/* How a failure while reading or decoding is reported. */
Penstock__FailClass leaf_decide_extract_failure(const struct ps_error *err);
/* How a failure of the destination is reported, once retrying here is over. */
Penstock__FailClass leaf_decide_load_failure(const struct ps_error *err);

/* Our own file is at fault, neither batch nor destination: the batch is extracted again. */
bool leaf_decide_is_segment_bad(const struct ps_error *err);

/* A batch failed: is what it has on disk still good for another life of it? */
bool leaf_decide_keeps(Penstock__FailClass class, const struct ps_error *err);

enum leaf_report { LEAF_REPORT_DONE, LEAF_REPORT_FAILED };
/* What a finished transaction means: DONE with *out_outcome, or FAILED with class and code. */
enum leaf_report leaf_decide_outcome(enum dest_outcome outcome, Penstock__Outcome *out_outcome,
                                     Penstock__FailClass *out_class, const char **out_code);

/* The wait before the transaction is tried again here; negative: give the batch back instead.
 * attempt counts from 0. Of a destination that was reached; after about a minute the coordinator
 * decides. */
int64_t leaf_decide_retry_ms(unsigned attempt, uint64_t random);

/* The wait before a destination that could not be reached is tried again, without end. */
int64_t leaf_decide_away_ms(unsigned attempt, uint64_t random);

/* A full disk, here or below the destination, is no fault of the batch: it is waited out by who
 * holds the batch, without end, and never counts as an attempt. */
bool leaf_decide_waits_for_room(const struct ps_error *err);
int64_t leaf_decide_room_ms(unsigned attempt, uint64_t random);

#endif
