-- The end of 0004: what was sealed there goes from where it lay in the clear.

DROP TABLE moved_conversation;
DROP INDEX message_by_sender;
UPDATE node SET uses = uses - messages;
DELETE FROM node WHERE uses <= 0;
ALTER TABLE node DROP COLUMN messages;
ALTER TABLE message DROP COLUMN sender;
ALTER TABLE message DROP COLUMN alias;
ALTER TABLE message DROP COLUMN reply_to;
ALTER TABLE message DROP COLUMN text;
CREATE INDEX message_by_author ON message (author) WHERE author IS NOT NULL;
