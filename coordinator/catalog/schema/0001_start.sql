-- SPDX-License-Identifier: Apache-2.0
-- Keys of the large tables are (pipeline_id, id) and the tables WITHOUT ROWID, so that a page of one
-- pipeline is a walk of one B-tree; partial indexes cover only what is open.

CREATE TABLE meta(
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_epoch INTEGER NOT NULL,
    commit_seq INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, 0);

CREATE TABLE pipeline(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    uuid BLOB NOT NULL,
    generation INTEGER NOT NULL,
    spec_rev INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    failure_class TEXT,
    table_name TEXT,
    format_note TEXT,
    revision INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    prepared INTEGER NOT NULL,
    reconciled INTEGER NOT NULL,
    discovery_complete INTEGER NOT NULL,
    discover_cursor BLOB NOT NULL,
    next_bp_id INTEGER NOT NULL,
    next_batch_number INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    objects_done INTEGER NOT NULL,
    objects_pending INTEGER NOT NULL,
    objects_quarantined INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    bytes_done INTEGER NOT NULL,
    bytes_pending INTEGER NOT NULL,
    batches_open INTEGER NOT NULL,
    batches_loaded INTEGER NOT NULL,
    batches_quarantined INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    decoded INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    inserted INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    rejected_at_load INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    unwrapped_bytes INTEGER NOT NULL,
    slowest_object BLOB NOT NULL,
    slowest_ms INTEGER NOT NULL
) STRICT;

-- The frozen document that batches and tasks refer to; apart from pipeline, whose row changes often.
CREATE TABLE spec_doc(
    pipeline_id INTEGER NOT NULL,
    spec_rev INTEGER NOT NULL,
    spec_json TEXT NOT NULL,
    columns BLOB NOT NULL,
    PRIMARY KEY (pipeline_id, spec_rev)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch_partition(
    pipeline_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    key BLOB NOT NULL,
    version BLOB NOT NULL,
    hash BLOB NOT NULL,
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
    PRIMARY KEY (pipeline_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX batch_partition_key ON batch_partition(pipeline_id, generation, key, version);
CREATE INDEX batch_partition_pending
    ON batch_partition(pipeline_id, generation, rest_bytes DESC, id) WHERE state = 'pending';
CREATE INDEX batch_partition_open
    ON batch_partition(pipeline_id, generation, id) WHERE state = 'open';
CREATE INDEX batch_partition_quarantined
    ON batch_partition(pipeline_id, generation, id) WHERE state = 'quarantined';

-- Ranges that a destination's ledger knows and this catalog did not: adopted, never cut again.
CREATE TABLE known_range(
    pipeline_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    from_offset INTEGER NOT NULL,
    end_offset INTEGER NOT NULL,
    eof INTEGER NOT NULL,
    resume BLOB NOT NULL,
    batch BLOB NOT NULL,
    records INTEGER NOT NULL,
    PRIMARY KEY (pipeline_id, hash, from_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch(
    pipeline_id INTEGER NOT NULL,
    id BLOB NOT NULL,
    generation INTEGER NOT NULL,
    spec_rev INTEGER NOT NULL,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    agent TEXT,
    incarnation BLOB NOT NULL,
    leaf INTEGER NOT NULL,
    leased INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    killed INTEGER NOT NULL,
    killers TEXT,
    retry_ms INTEGER NOT NULL,
    code TEXT,
    reason TEXT,
    fault_bp INTEGER NOT NULL,
    ranges INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    first_object BLOB NOT NULL,
    decoded INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    filtered INTEGER NOT NULL,
    inserted INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    rejected_at_load INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    unwrapped_bytes INTEGER NOT NULL,
    fetch_ms INTEGER NOT NULL,
    stage_ms INTEGER NOT NULL,
    load_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    PRIMARY KEY (pipeline_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_open ON batch(pipeline_id, state, id) WHERE state NOT IN ('loaded', 'cancelled');

CREATE TABLE batch_range(
    pipeline_id INTEGER NOT NULL,
    batch BLOB NOT NULL,
    n INTEGER NOT NULL,
    bp_id INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    target_bytes INTEGER NOT NULL,
    end_offset INTEGER,
    eof INTEGER,
    records INTEGER,
    PRIMARY KEY (pipeline_id, batch, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent(
    name TEXT PRIMARY KEY,
    incarnation BLOB NOT NULL,
    state TEXT NOT NULL,
    version TEXT NOT NULL,
    leaves INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    host_token BLOB NOT NULL,
    hello_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used again, also after the oldest rows were dropped.
CREATE TABLE event(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    pipeline TEXT,
    kind TEXT NOT NULL,
    subject TEXT,
    text TEXT
) STRICT;
