//! The webhook with a real API server: generated certificates and certificates from files, renewals, damaged Secrets,
//! rollouts, and a lost API server. No request may fail.

mod client;
mod files;
mod fixture;
mod generated;
mod load;
mod manifests;
mod registration;
mod replicas;
mod revoked_rights;
mod strangers;
mod unreachable_api_server;
