-- Whether a bundle that is not held any more would be taken again if there were room. What was dropped so far stays away.

ALTER TABLE dropped ADD COLUMN for_room INTEGER NOT NULL DEFAULT 0;

-- Who has brought most, without looking at everybody.

CREATE INDEX node_by_brought ON node (brought_bytes DESC, id) WHERE brought_bytes > 0;
