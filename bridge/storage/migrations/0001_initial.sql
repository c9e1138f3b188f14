-- One row per message in a queue. The id is lane << 41 | sequence; a lane is one ordered band of one queue,
-- so a queue's messages are a contiguous range of the b-tree and settling in order deletes ranges.
-- The blobs stand last: scans for counts then never leave a row's first page.
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    visible_at INTEGER,
    expires_at INTEGER,
    receive_count INTEGER NOT NULL,
    return_count INTEGER NOT NULL,
    first_received_at INTEGER,
    content INTEGER,
    head BLOB NOT NULL,
    body BLOB
);
CREATE INDEX entry_visible_at ON entry (visible_at) WHERE visible_at IS NOT NULL;
CREATE INDEX entry_expires_at ON entry (expires_at) WHERE expires_at IS NOT NULL;

-- Bodies that several queues hold; an entry without a body points here.
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL,
    copies INTEGER NOT NULL
);
CREATE INDEX content_unused ON content (id) WHERE copies <= 0;

CREATE TABLE queue (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (namespace, name)
);

-- Ranges of entries that were purged and not yet deleted; recovery finishes them.
CREATE TABLE purge (
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
);

-- What first-in-first-out queues accepted lately: a repeated id within the window is not stored again.
CREATE TABLE deduplication (
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sequence_number TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX deduplication_expires_at ON deduplication (expires_at);

CREATE TABLE state (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
