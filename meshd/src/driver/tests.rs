//! The driver over the reference store.
