/* SPDX-License-Identifier: Apache-2.0 */
#include "coordinator/catalog/catalog_internal.h"

enum ps_status
cat_replay_enter(struct catalog *catalog, uint64_t pipeline_id, struct batch_id id, bool *out_fresh,
                 struct ps_error *err)
{
    enum ps_status status =
        CATALOG_RUN(catalog, QUERY_REPLAY_ENTER, err, sql_u64(pipeline_id), sql_id(&id.id));
    *out_fresh = status == PS_OK && sqlite3_changes(catalog->db) == 1;
    return status;
}
