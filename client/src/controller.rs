//! Controllers of objects in several clusters.
//!
//! A [`Controller`] watches one kind in every member of a [`Clusters`], and has each object reconciled that
//! changes, in whatever cluster it is. It is to several clusters what kube's
//! [`Controller`](kube::runtime::Controller) is to one, and used like it:
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
//!             Ok((key, _)) => println!("{key} is as it should be"),
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     })
//!     .await;
//! # }
//! ```
//!
//! What is particular about several clusters:
//!
//! - A cluster that is away, that hangs, or that refuses a watch holds up no other. Its objects are known as it
//!   last told; once it answers again, they are listed anew, and what changed meanwhile is reconciled.
//! - Clusters join and leave while it runs.
//! - An object may own others in any cluster: [`Owner::mark`] says so, [`Controller::owns`] has the owner reconciled
//!   when they change, and deletes them when it is gone. What can't be proven to be an orphan is never deleted.
//!
//! # Rights
//!
//! In each member, of the service account that the member's client is:
//!
//! | on | verbs | for |
//! | --- | --- | --- |
//! | the kind that is reconciled | `list`, `watch` | being told of it |
//! | kinds of [`Controller::owns`] and [`Controller::watches`] | `list`, `watch` | being told of them |
//! | the namespace `kube-system` | `get` | [`Request::owner`] and garbage collection: its UID is the cluster's identity. Not needed of members that are imports which are watched: the importer has made sure of it |
//! | the kind that is reconciled | `get` | garbage collection: proving that an owner is gone |
//! | kinds of [`Controller::owns`] | `get`, `delete` | garbage collection |
//! | the kind that is reconciled | `patch` | [`Controller::finalizer`] |

mod action;
mod backoff;
mod builder;
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
mod start;
mod stores;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;

pub use self::builder::Controller;
pub use self::error::{Error, Problem};
pub use self::key::Key;
pub use self::metrics::Metrics;
pub use self::owner::Owner;
pub use self::request::Request;
pub use self::scope::Scoped;
pub use self::stores::Stores;
#[cfg(doc)]
use crate::clusters::Clusters;
