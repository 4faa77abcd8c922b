-- Headers no longer say how long the payload is: no neighbour takes a bundle as it was made before. They go with the next sweep as what
-- has expired goes, which counts them and publishes this node's profile and prekeys anew.

UPDATE bundle SET expires_tl_ms = 0;
