//! The end-to-end tests, on real API servers and real nodes.
//!
//! One binary, so that tests which mostly wait for Kubernetes wait at the same time, and files that
//! need nothing special share a pair of clusters.

// Helpers of tests: where they cannot go on, the test has failed.
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
mod leader;
mod life;
mod link;
mod links;
mod monitoring;
mod node;
mod pods;
mod process;
mod proxy;
mod rights;
mod support;
mod uninstall;
mod webhook;
