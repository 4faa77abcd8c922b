-- What was handed over most gives way first. What was kept so far had 8 copies of the 255 there are now.

UPDATE bundle SET copies = 255;
CREATE INDEX bundle_by_copies ON bundle (priority, class, copies);
DROP INDEX bundle_by_origin;
CREATE INDEX bundle_by_origin ON bundle (origin, priority DESC, copies) WHERE origin IS NOT NULL;
DROP INDEX bundle_by_ingress;
CREATE INDEX bundle_by_ingress ON bundle (ingress, priority DESC, copies) WHERE class = 2 AND ingress IS NOT NULL;
