//! Computes the remote pod of a home pod. A pure function.
