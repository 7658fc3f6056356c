/* SPDX-License-Identifier: Apache-2.0 */
/* All that SingleStore does otherwise than MySQL and MariaDB stands here. */
#include "agent/dest/dst_mysql.h"

/* Ledger rows are never changed after their transaction. Format: DST_MYSQL_FORMAT. $S: our
 * tables' database, $K and $T: the dialect's words around a table; between $( and $): only where
 * tables are sharded. Keys and all that comes from outside are bytes: no collation takes two of
 * them for one. */
const char *const dst_mysql_own_tables[] = {
    "CREATE $KTABLE IF NOT EXISTS $S_penstock_fence(pipeline_name VARBINARY(255) NOT NULL,"
    " pipeline_uuid VARBINARY(16) NOT NULL, generation BIGINT NOT NULL,"
    " gc_before BIGINT NOT NULL DEFAULT 0, format INT NOT NULL DEFAULT 1,"
    " PRIMARY KEY (pipeline_name)$(, SHARD KEY (pipeline_name)$))$T",
    "CREATE $KTABLE IF NOT EXISTS $S_penstock_ledger(batch_id VARBINARY(16) NOT NULL,"
    " pipeline_uuid VARBINARY(16) NOT NULL, generation BIGINT NOT NULL,"
    " state VARBINARY(1) NOT NULL, epoch BIGINT NOT NULL, cluster_epoch BIGINT NOT NULL,"
    " commit_seq BIGINT NOT NULL, agent VARBINARY(255) NOT NULL, leaf BIGINT NOT NULL,"
    " spec_rev BIGINT NOT NULL, decoded BIGINT NOT NULL, rejected BIGINT NOT NULL,"
    " filtered BIGINT NOT NULL, inserted BIGINT NOT NULL, updated BIGINT NOT NULL,"
    " skipped BIGINT NOT NULL, rejected_at_load BIGINT NOT NULL, raw_bytes BIGINT NOT NULL,"
    " unwrapped_bytes BIGINT NOT NULL, reason LONGBLOB, at_ms BIGINT NOT NULL,"
    " PRIMARY KEY (batch_id)$(, SHARD KEY (batch_id)$))$T",
    "CREATE $KTABLE IF NOT EXISTS $S_penstock_ledger_range(pipeline_uuid VARBINARY(16) NOT NULL,"
    " generation BIGINT NOT NULL, bp_hash VARBINARY(16) NOT NULL, from_offset BIGINT NOT NULL,"
    " batch_id VARBINARY(16) NOT NULL, `key` LONGBLOB NOT NULL, version LONGBLOB NOT NULL,"
    " end_offset BIGINT NOT NULL, eof TINYINT NOT NULL, resume LONGBLOB, records BIGINT NOT NULL,"
    " PRIMARY KEY (pipeline_uuid, generation, bp_hash, from_offset)"
    "$(, SHARD KEY (pipeline_uuid, generation, bp_hash)$), KEY (batch_id))$T",
    "CREATE $KTABLE IF NOT EXISTS $R(n BIGINT NOT NULL AUTO_INCREMENT,"
    " batch_id VARBINARY(16) NOT NULL, object LONGTEXT, `offset` BIGINT NOT NULL, length BIGINT,"
    " line BIGINT, `column` TEXT, code VARCHAR(64) NOT NULL, reason LONGTEXT NOT NULL,"
    " raw LONGBLOB, at_ms BIGINT NOT NULL, replayed_by VARBINARY(16), replayed_ms BIGINT,"
    " edited VARCHAR(16), PRIMARY KEY (n)$(, SHARD KEY (n)$))$T",
    NULL,
};

const struct dst_mysql_dialect dst_mysql_dialect = {
    .scheme = "mysql",
    .table_kind = "",
    .table_tail = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    .has_shared_lock = true,
    .has_locks = true,
    .has_row_number = true,
    .has_engines = true,
    .has_savepoints = true,
    .numbers_rise = true,
};

/* A primary key has to hold the shard key, so the ledger's tables, whose keys are what makes a
 * second life impossible, are rowstores sharded by (a part of) them. A row is locked FOR UPDATE:
 * there is no shared lock. A twin is found by the statement it runs: there is no GET_LOCK. Numbers
 * of AUTO_INCREMENT may come from several nodes, in no order. */
const struct dst_mysql_dialect dst_singlestore_dialect = {
    .scheme = "singlestore",
    .table_kind = "ROWSTORE ",
    .table_tail = "",
    .is_sharded = true,
};
