-- Receipts are a class of their own. Those held before stay in the class they came in with, and expire within a week.

ALTER TABLE meta ADD COLUMN receipt_bundles INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN receipt_bytes INTEGER NOT NULL DEFAULT 0;
