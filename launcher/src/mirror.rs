//! Computes the status of a home pod from that of its remote pod. A pure function.
