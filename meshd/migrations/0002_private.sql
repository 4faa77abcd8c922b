-- Private messages: what finds their bundles, how protected a message was, and the small records of keys and contacts.

-- For a sealed bundle what its header has, for a receipt what it opens.
ALTER TABLE bundle ADD COLUMN commitment BLOB;
CREATE INDEX bundle_by_commitment ON bundle (commitment) WHERE commitment IS NOT NULL;

-- 0 public, 1 sealed, 2 sealed and verified. All there were until now are public.
ALTER TABLE message ADD COLUMN protection INTEGER NOT NULL DEFAULT 0;

-- The core's shelves: small records under keys of its own making.
CREATE TABLE record (
    shelf INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (shelf, key)
) STRICT, WITHOUT ROWID;
