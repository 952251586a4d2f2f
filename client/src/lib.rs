//! Clusters in the plural: kube clients that act in other clusters with the identity of a service account there,
//! the live set of such clusters, and controllers over all of them.
//!
//! # In a minute
//!
//! A `ServiceAccountImport` says which service account of which cluster a namespace wants; the importer keeps a
//! token of it in a Secret, and the webhook mounts that into the pods that name the import. Such a pod lists the
//! pods of another cluster so:
//!
//! ```no_run
//! use k8s_openapi::api::core::v1::Pod;
//! use kube::{Api, ResourceExt};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let remote = mcsa_client::config::import("c2-pod-lister")?;
//! for pod in Api::<Pod>::default_namespaced(remote.client()).list(&Default::default()).await? {
//!     println!("{}", pod.name_any());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The client works on for as long as the program runs: when the token, the authority or the address changes,
//! no request fails for that.
//!
//! With no such system at hand, contexts of a kubeconfig do as well, for all that is in this crate:
//!
//! ```no_run
//! use mcsa_client::clusters::Clusters;
//! use mcsa_client::config::Contexts;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clusters = Clusters::builder().contexts(Contexts::of_the_user(), ["c1", "c2"]).start()?;
//! for member in clusters.members() {
//!     println!("{} runs {}", member.name(), member.client().apiserver_version().await?.git_version);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | module | what it is |
//! | --- | --- |
//! | [`config`] | configs from mounted imports, from Secrets, from contexts, and of the pod itself |
//! | [`live`] | what is particular about them: they stay right |
//! | [`clusters`] | the live set of clusters: who joins, changes and leaves, and how each is doing |
//! | `controller` | controllers of objects in several clusters, and of objects that own others across them |
//! | `argo` | what multi-cluster designs for Argo Workflows keep in Secrets, read |
//! | [`api`] | the `ServiceAccountImport` resource |
//! | [`contract`] | the names that all agree on: annotations, labels, keys, paths |
//!
//! # Features
//!
//! `controller` and `argo` turn on the modules of these names; neither is on by default.
//!
//! Which Kubernetes [`k8s_openapi`] is for is for the program to choose, as always: depend on it with a feature such
//! as `v1_33`. Rust 1.91 is needed; a later one may be with a new minor version. kube's types are in this
//! crate's API: a new major version of kube is one of this crate as well.

pub mod api;
#[cfg(feature = "argo")]
pub mod argo;
pub mod clusters;
pub mod config;
pub mod contract;
#[cfg(feature = "controller")]
pub mod controller;
pub mod live;

// Public for mcsa-credentials only.
#[doc(hidden)]
pub mod kubeconfig;
#[doc(hidden)]
pub mod names;

pub use api::{ServiceAccountImport, ServiceAccountImportSpec, ServiceAccountImportStatus};
