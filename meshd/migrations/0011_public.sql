-- What is held of strangers' bundles that are for everybody is counted: it has a share of its own. Mail that was handed on very often
-- counts no further down than to the first number above theirs.

UPDATE bundle SET copies = 128 WHERE copies < 128 AND kind IN (4, 5, 7);
ALTER TABLE meta ADD COLUMN public_bundles INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN public_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET
    public_bundles = (SELECT count(*) FROM bundle WHERE class = 2 AND copies < 128),
    public_bytes =
        (SELECT ifnull(sum(max(size_bytes, bundle_cost_min)), 0) FROM bundle WHERE class = 2 AND copies < 128);
