-- Records of the shelves are sealed from here on, and joined channels are such records. What was kept before is
-- sealed in the same transaction, by the program, which has the keys (`sealing.rs`); then `moved_channel` goes.
--
-- `key` is what the node finds a record by, or, where that is private, a tag of it; then `value` seals both.

ALTER TABLE channel RENAME TO moved_channel;
