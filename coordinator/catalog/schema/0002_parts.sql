-- SPDX-License-Identifier: Apache-2.0
-- One large object taken as ranges in parallel.

-- Where the next range of a batch partition is cut while others are still open; 0: it is a chain.
ALTER TABLE batch_partition ADD COLUMN cut_offset INTEGER NOT NULL DEFAULT 0;
-- The range is a row of `part`.
ALTER TABLE batch_range ADD COLUMN part INTEGER NOT NULL DEFAULT 0;

-- Ranges behind a batch partition's offset, without gaps up to its cut_offset. They are dropped as
-- the offset passes them, so that the table holds what is on its way and no history. from_offset is
-- where it was cut; start_offset and end_offset are where its first record begins and its last one
-- ends, equal where no record begins in it; they and what follows are set with state 'loaded'.
CREATE TABLE part(
    pipeline_id INTEGER NOT NULL,
    bp_id INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    target_bytes INTEGER NOT NULL,
    state TEXT NOT NULL,
    batch BLOB,
    start_offset INTEGER NOT NULL,
    end_offset INTEGER NOT NULL,
    eof INTEGER NOT NULL,
    records INTEGER NOT NULL,
    resume BLOB NOT NULL,
    PRIMARY KEY (pipeline_id, bp_id, from_offset)
) STRICT, WITHOUT ROWID;
