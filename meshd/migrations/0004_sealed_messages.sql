-- What messages say is sealed from here on: text, sender, conversation, and what they answer (`words`). Names of
-- conversations are sealed too and found by tags, as are senders. The index of words goes: it says what it indexes.
-- The program seals what there is in the same transaction; 0005 drops what then is empty.

DROP TABLE message_words;

ALTER TABLE conversation RENAME TO moved_conversation;
CREATE TABLE conversation (
    n INTEGER PRIMARY KEY,
    tag BLOB NOT NULL UNIQUE,
    name BLOB NOT NULL,
    messages INTEGER NOT NULL,
    unread INTEGER NOT NULL
) STRICT;

-- Senders by number, as long as they have a message.
CREATE TABLE author (
    n INTEGER PRIMARY KEY,
    tag BLOB NOT NULL UNIQUE,
    messages INTEGER NOT NULL
) STRICT;

ALTER TABLE message ADD COLUMN author INTEGER;
ALTER TABLE message ADD COLUMN text_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN words BLOB NOT NULL DEFAULT x'';
