//! What every binary shares: TLS provider, logs, signals, exit codes, probes, leader election.

pub mod cluster;
pub mod deadline;
pub mod errors;
pub mod exit;
pub mod lease;
pub mod logs;
pub mod probes;
pub mod signals;
pub mod tls;
