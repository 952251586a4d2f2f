//! The whole path on a real node: importer, webhook and their users are pods, from images, with a
//! kubelet that mounts and refreshes, a Service in front of the webhook, and a second cluster as source.
//!
//! Linux and root are needed; where they are missing, each test says so in one line.

mod from_nothing;
mod power;
mod refresh;
mod restarts;
