//! What each of our binaries needs, and no two of them should do differently.

pub mod cluster;
pub mod deadline;
pub mod errors;
pub mod exit;
pub mod lease;
pub mod logs;
pub mod probes;
pub mod signals;
pub mod tls;
