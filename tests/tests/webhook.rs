//! The webhook's life, as an API server has it: certificates that are made, rotated, deleted, edited and
//! from files, replicas that come and go, an API server that is lost; and that no request fails by it.

mod client;
mod files;
mod forbidden;
mod load;
mod lost;
mod manifests;
mod own;
mod registration;
mod replicas;
mod world;
