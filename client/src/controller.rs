//! Controllers for objects in several clusters.
//!
//! A [`Controller`] watches one kind in every member of a [`Clusters`], and reconciles each object that changes. Use it
//! like kube's [`Controller`](kube::runtime::Controller) for one cluster:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use futures::StreamExt;
//! # use k8s_openapi::api::core::v1::ConfigMap;
//! # use kube::ResourceExt;
//! use kube::runtime::controller::Action;
//! use kube::runtime::watcher;
//! use mcsa_client::clusters::Clusters;
//! use mcsa_client::controller::{Controller, Request};
//!
//! async fn reconcile(request: Request<ConfigMap>, _: Arc<()>) -> kube::Result<Action> {
//!     println!("{} is in {}", request.object.name_any(), request.member.name());
//!     Ok(Action::requeue(Duration::from_secs(300)))
//! }
//!
//! fn error_policy(request: &Request<ConfigMap>, _: &kube::Error, _: Arc<()>) -> Action {
//!     request.backoff()
//! }
//!
//! # async fn example(clusters: Clusters) {
//! Controller::<ConfigMap>::new(&clusters, watcher::Config::default())
//!     .shutdown_on_signal()
//!     .run(reconcile, error_policy, Arc::new(()))
//!     .for_each(|result| async move {
//!         match result {
//!             Ok((key, _)) => println!("reconciled {key}"),
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     })
//!     .await;
//! # }
//! ```
//!
//! What several clusters add:
//!
//! - A cluster that is unreachable, hangs, or refuses a watch does not delay the others. The store keeps the last
//!   known objects of that cluster. Once it responds again, they are listed, and those that changed are reconciled.
//! - Clusters join and leave while the controller runs.
//! - An object may own objects in any cluster. [`Owner::apply_to`] records the owner. [`Controller::owns`] reconciles
//!   the owner when an owned object changes, and deletes owned objects once the owner is gone. An object is deleted
//!   only if it is proven to be an orphan.
//!
//! # Rights
//!
//! The identity that the controller uses in a member needs there:
//!
//! | resource | verbs | for |
//! | --- | --- | --- |
//! | the reconciled kind | `list`, `watch` | watching it |
//! | kinds of [`Controller::owns`] and [`Controller::watches`] | `list`, `watch` | watching them |
//! | the namespace `kube-system` | `get` | [`Request::owner`], garbage collection and finalizers: its UID identifies the cluster. Not needed in members from watched imports, because the importer has verified their clusters |
//! | the reconciled kind | `get` | garbage collection: proving that an owner is gone |
//! | kinds of [`Controller::owns`] | `get`, `delete` | garbage collection |
//! | the reconciled kind | `patch` | [`Controller::finalizer`] |
//!
//! These rights are needed in all namespaces, or only in the one that [`Controller::namespace_of`] returns for the
//! member. An imported service account typically has rights in its own namespace only:
//! [`Controller::default_namespaces`] confines the controller to it.

mod action;
mod backoff;
mod builder;
mod call;
mod collect;
mod error;
#[cfg(test)]
mod fake_server;
mod finalizer;
mod key;
mod map_handler;
mod members;
mod metrics;
mod object_handler;
mod owner;
mod queue;
mod reconcile_loop;
mod reconciler;
mod request;
mod results;
mod scope;
mod served;
mod signal;
mod start;
mod stores;
mod target;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;
mod watch_config;

pub use self::builder::Controller;
pub use self::error::{Error, Problem};
pub use self::key::Key;
pub use self::metrics::Metrics;
pub use self::owner::Owner;
pub use self::request::Request;
pub use self::scope::Scoped;
pub use self::stores::Stores;
pub use self::watch_config::WatchConfig;
#[cfg(doc)]
use crate::clusters::Clusters;
/// The crate whose [`Registry`](prometheus_client::registry::Registry) [`Metrics::register`] takes. A new version of it
/// with breaking changes requires a new major version of this crate.
pub use prometheus_client;
