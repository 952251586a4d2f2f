//! End-to-end tests on real API servers. `node/main.rs` has those on real nodes.
//!
//! They are one binary, because they mostly wait for Kubernetes and so can run in parallel, and because most of them
//! share two clusters.

// If a helper of tests fails, the test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod argo;
mod bootstrap;
mod chart;
mod check;
mod client;
mod commands;
mod confined;
mod consumers;
mod controller;
mod end_to_end;
mod export;
mod faults;
mod graph;
mod importer;
mod install;
mod kubeconfigs;
mod launch;
mod leader;
mod life;
mod link;
mod links;
mod monitoring;
mod pods;
mod process;
mod proxy;
mod rights;
mod support;
mod uninstall;
mod webhook;
