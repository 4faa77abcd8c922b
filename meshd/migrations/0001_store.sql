-- The first schema. Never changed once released: a later one is a file of its own.
--
-- Ids are stored once, in the row they name; their indexes hold the first 12 bytes (`IdPrefix`), which is
-- what neighbours ask with and a third of the space. Node ids appear in many rows and are numbered in `node`.
-- Bodies lie apart from what is known about their bundles, so that a walk over all bundles reads 80 bytes each.

-- What holds for the whole store. One row: whatever a commit counts lands on one page.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id BLOB NOT NULL CHECK (length(store_id) = 4),
    timeline_ms INTEGER NOT NULL DEFAULT 0,
    clock_unix_ms INTEGER,
    -- Given out so far, never again.
    last_event INTEGER NOT NULL DEFAULT 0,
    last_row INTEGER NOT NULL DEFAULT 0,
    last_idempotent INTEGER NOT NULL DEFAULT 0,
    -- Bundles held and their cost, by class.
    own_bundles INTEGER NOT NULL DEFAULT 0,
    own_bytes INTEGER NOT NULL DEFAULT 0,
    contact_bundles INTEGER NOT NULL DEFAULT 0,
    contact_bytes INTEGER NOT NULL DEFAULT 0,
    stranger_bundles INTEGER NOT NULL DEFAULT 0,
    stranger_bytes INTEGER NOT NULL DEFAULT 0,
    -- Own messages by status; received ones and their cost.
    own_pending INTEGER NOT NULL DEFAULT 0,
    own_synced INTEGER NOT NULL DEFAULT 0,
    own_delivered INTEGER NOT NULL DEFAULT 0,
    own_read INTEGER NOT NULL DEFAULT 0,
    own_expired INTEGER NOT NULL DEFAULT 0,
    own_failed INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    received_bytes INTEGER NOT NULL DEFAULT 0,
    unread INTEGER NOT NULL DEFAULT 0,
    peers INTEGER NOT NULL DEFAULT 0,
    -- What the costs above were counted with; a program that counts otherwise counts anew.
    bundle_cost_min INTEGER NOT NULL,
    message_cost INTEGER NOT NULL
) STRICT;

-- The node's own small records.
CREATE TABLE slot (
    number INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- Node ids by number, as long as a row uses them, with what is held of them.
CREATE TABLE node (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    uses INTEGER NOT NULL,
    made_bundles INTEGER NOT NULL,
    made_bytes INTEGER NOT NULL,
    brought_bundles INTEGER NOT NULL,
    brought_bytes INTEGER NOT NULL,
    messages INTEGER NOT NULL
) STRICT;

CREATE TABLE bundle (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    class INTEGER NOT NULL,
    origin INTEGER,
    ingress INTEGER,
    size_bytes INTEGER NOT NULL,
    age_ms INTEGER NOT NULL,
    received_tl_ms INTEGER NOT NULL,
    expires_tl_ms INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    copies INTEGER NOT NULL,
    unshown_in TEXT
) STRICT;
CREATE INDEX bundle_by_prefix ON bundle (substr(id, 1, 12));
CREATE INDEX bundle_by_order ON bundle (priority, class);
CREATE INDEX bundle_by_expiry ON bundle (expires_tl_ms);
CREATE INDEX bundle_by_origin ON bundle (origin, priority DESC) WHERE origin IS NOT NULL;
-- Only strangers' bundles count for the neighbour that brought them.
CREATE INDEX bundle_by_ingress ON bundle (ingress, priority DESC) WHERE class = 2 AND ingress IS NOT NULL;
CREATE INDEX bundle_unshown ON bundle (unshown_in) WHERE unshown_in IS NOT NULL;

CREATE TABLE body (
    row INTEGER PRIMARY KEY,
    header BLOB NOT NULL,
    payload BLOB NOT NULL,
    auth BLOB NOT NULL
) STRICT;

-- Bundles held once and not wanted again.
CREATE TABLE dropped (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    until_tl_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX dropped_by_prefix ON dropped (substr(id, 1, 12));
CREATE INDEX dropped_by_time ON dropped (until_tl_ms);

-- Every event with its place; `body` is the CBOR of the core's `Event`.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    at_unix_ms INTEGER,
    body BLOB NOT NULL
) STRICT;

-- Conversations by number, as long as they hold a message.
CREATE TABLE conversation (
    n INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    messages INTEGER NOT NULL,
    unread INTEGER NOT NULL
) STRICT;

-- `seq` is the place of the message's own event.
CREATE TABLE message (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    conversation INTEGER NOT NULL,
    sender INTEGER,
    alias TEXT,
    own INTEGER NOT NULL,
    read INTEGER NOT NULL,
    status INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    created_unix_ms INTEGER,
    received_unix_ms INTEGER,
    expires_tl_ms INTEGER NOT NULL,
    status_reason TEXT,
    reply_to BLOB,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX message_by_prefix ON message (substr(id, 1, 12));
CREATE INDEX message_by_conversation ON message (conversation);
CREATE INDEX message_by_sender ON message (sender) WHERE sender IS NOT NULL;
-- Nearly all messages are synced (1): nobody looks for those by status.
CREATE INDEX message_by_status ON message (status) WHERE status <> 1;
-- The order in which received messages are forgotten.
CREATE INDEX message_received ON message (read DESC) WHERE own = 0;

-- The words of the messages. It holds no text of its own and forgets deleted words for good.
CREATE VIRTUAL TABLE message_words USING fts5 (
    text,
    content = 'message',
    content_rowid = 'seq',
    columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO message_words (message_words, rank) VALUES ('secure-delete', 1);

-- Steps on the way of a message, in the order of `n`.
CREATE TABLE hand_over (
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    step INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    via INTEGER NOT NULL,
    at_unix_ms INTEGER,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE peer (
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    last_seen_unix_ms INTEGER,
    heard_tl_ms INTEGER NOT NULL,
    encounters INTEGER NOT NULL,
    bundles_sent INTEGER NOT NULL,
    bundles_received INTEGER NOT NULL,
    blocked INTEGER NOT NULL
) STRICT;
CREATE INDEX peer_by_silence ON peer (heard_tl_ms, id) WHERE blocked = 0;
CREATE INDEX peer_blocked ON peer (id) WHERE blocked = 1;

-- What peers say about themselves. Apart, because a picture is not to be written again for every encounter.
CREATE TABLE profile (
    peer INTEGER PRIMARY KEY REFERENCES peer (n) ON DELETE CASCADE,
    bundle BLOB NOT NULL,
    revision INTEGER NOT NULL,
    name TEXT,
    about TEXT,
    avatar TEXT
) STRICT;

CREATE TABLE channel (
    name TEXT PRIMARY KEY,
    joined_unix_ms INTEGER
) STRICT, WITHOUT ROWID;

-- From here on: the daemon's own tables, which the core does not know.

CREATE TABLE token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    scope INTEGER NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    created_unix_ms INTEGER,
    last_used_unix_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    name TEXT PRIMARY KEY,
    position TEXT NOT NULL,
    set_unix_ms INTEGER
) STRICT, WITHOUT ROWID;

-- Answers already given, by Idempotency-Key; `n` and `made_tl_ms` grow together.
CREATE TABLE idempotent (
    n INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    body_hash BLOB NOT NULL,
    message BLOB NOT NULL,
    made_tl_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE mark (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Written and deleted again to find out whether the disk has room.
CREATE TABLE probe (
    n INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;
