/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/transform/transform_hot.h"

enum ps_status
transform_any(struct transform *transform, const struct record *record, const struct row_meta *meta,
              struct block *block, struct transform_reject *out_reject)
{
    return hot_row(transform, record, meta, block, out_reject);
}
