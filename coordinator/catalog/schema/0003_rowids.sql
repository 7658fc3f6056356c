-- SPDX-License-Identifier: Apache-2.0
-- The largest table smaller and its B-trees faster: a batch partition's place is one integer,
-- pipeline_id * 2^40 + id, so that a page of one pipeline is still a walk of one B-tree. Its hash
-- follows from key and version; versions of one key are few and need no index of their own.

CREATE TABLE batch_partition_new(
    place INTEGER PRIMARY KEY,
    pipeline_id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key BLOB NOT NULL,
    version BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    compressed INTEGER NOT NULL,
    weak INTEGER NOT NULL,
    mtime_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    offset INTEGER NOT NULL,
    rest_bytes INTEGER NOT NULL,
    resume BLOB NOT NULL,
    batch BLOB,
    reason TEXT,
    records INTEGER NOT NULL,
    spent_ms INTEGER NOT NULL,
    cut_offset INTEGER NOT NULL
) STRICT;
INSERT INTO batch_partition_new
    SELECT (pipeline_id << 40) + id, pipeline_id, generation, key, version, size_bytes, compressed,
        weak, mtime_ms, state, offset, rest_bytes, resume, batch, reason, records, spent_ms,
        cut_offset
    FROM batch_partition ORDER BY pipeline_id, id;
DROP TABLE batch_partition;
ALTER TABLE batch_partition_new RENAME TO batch_partition;
CREATE INDEX batch_partition_key ON batch_partition(pipeline_id, generation, key);
CREATE INDEX batch_partition_pending
    ON batch_partition(pipeline_id, generation, rest_bytes DESC) WHERE state = 'pending';
CREATE INDEX batch_partition_open
    ON batch_partition(pipeline_id, generation) WHERE state = 'open';
CREATE INDEX batch_partition_quarantined
    ON batch_partition(pipeline_id, generation) WHERE state = 'quarantined';

-- Nobody reads them: where a range ended is its batch partition's offset.
ALTER TABLE batch_range DROP COLUMN end_offset;
ALTER TABLE batch_range DROP COLUMN eof;
ALTER TABLE batch_range DROP COLUMN records;

-- The newest event is never dropped, so the next id is above all that ever were without being kept
-- apart.
CREATE TABLE event_new(
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    pipeline TEXT,
    kind TEXT NOT NULL,
    subject TEXT,
    text TEXT
) STRICT;
INSERT INTO event_new SELECT id, at_ms, pipeline, kind, subject, text FROM event ORDER BY id;
DROP TABLE event;
ALTER TABLE event_new RENAME TO event;
