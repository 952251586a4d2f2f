//! Maintains the Node object of a source.
