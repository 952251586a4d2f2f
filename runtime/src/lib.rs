//! What the binaries share: TLS provider, flags and config of the cluster, deadlines, errors, logs, signals, exit
//! codes, probes, metrics, accepting and limiting connections, leader election.

pub mod accept;
pub mod argo;
pub mod cluster;
pub mod deadline;
pub mod errors;
pub mod exit;
pub mod lease;
pub mod logs;
pub mod metrics;
pub mod probes;
pub mod signals;
pub mod slots;
pub mod tls;
