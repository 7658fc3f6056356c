-- SPDX-License-Identifier: Apache-2.0
-- Replays of rejects. A replay's batch is no batch of a source: all that is kept of it is that its
-- counts are in the pipeline's totals, so that a result that is told twice is counted once.

ALTER TABLE pipeline ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE replay(
    pipeline_id INTEGER NOT NULL,
    batch_id BLOB NOT NULL,
    PRIMARY KEY (pipeline_id, batch_id)
) STRICT, WITHOUT ROWID;
