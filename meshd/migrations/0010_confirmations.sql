-- That a message has arrived, or was read, is a step too, with no neighbour and no link.

CREATE TABLE step (
    seq INTEGER NOT NULL,
    n INTEGER NOT NULL,
    step INTEGER NOT NULL,
    peer INTEGER,
    via INTEGER,
    at_unix_ms INTEGER,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;
INSERT INTO step SELECT seq, n, step, peer, via, at_unix_ms FROM hand_over;
DROP TABLE hand_over;
ALTER TABLE step RENAME TO hand_over;
