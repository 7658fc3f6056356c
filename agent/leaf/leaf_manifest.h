/* SPDX-License-Identifier: Apache-2.0 */
/* agent/leaf/leaf_manifest.h: what a segment says of its batch beside rows and rejects, so that
 * another life of the batch can load it.
 * Invariant: a manifest is applied only to a grant of the same batch, document and ranges: what
 * such a job then loads is what extracting it again would have given.
 * Threads: the job's owner. */
#ifndef AGENT_LEAF_LEAF_MANIFEST_H
#define AGENT_LEAF_LEAF_MANIFEST_H

#include "agent/leaf/leaf_job.h"

/* Of a job that was decoded whole; appended. */
void leaf_manifest_write(const struct leaf_job *job, struct ps_buf *out);
/* Fills in what decoding would have. ncols: of the segment. PS_BADDATA: no manifest; PS_REFUSED,
 * code "segment_unfit": of another batch or document. The job is unchanged on failure. */
PS_MUSTCHECK enum ps_status leaf_manifest_apply(struct leaf_job *job, struct ps_span manifest,
                                                uint32_t ncols, struct ps_error *err);

#endif
