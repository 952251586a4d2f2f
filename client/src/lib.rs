//! Work with several Kubernetes clusters: kube clients that use service accounts of other clusters, a set of such
//! clusters that changes at runtime, and controllers for all of them.
//!
//! # In a minute
//!
//! A `ServiceAccountImport` names a service account of another cluster that a namespace wants to use. The importer
//! keeps a token of that service account in a Secret, and the webhook mounts the Secret into the pods that name the
//! import. Such a pod can list the pods of the other cluster:
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
//! The client works for as long as the program runs. No request fails because the token, the certificate authority or
//! the address changed.
//!
//! Everything in this crate also works with the contexts of a kubeconfig:
//!
//! ```no_run
//! use mcsa_client::clusters::Clusters;
//! use mcsa_client::config::Contexts;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clusters = Clusters::builder().contexts(Contexts::from_env(), ["c1", "c2"]).start()?;
//! for member in clusters.members() {
//!     println!("{} runs {}", member.name(), member.client().apiserver_version().await?.git_version);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | module | contents |
//! | --- | --- |
//! | [`config`] | configs from mounted imports, from Secrets, from contexts, and of the pod itself |
//! | [`live`] | configs that reload while they are in use |
//! | [`clusters`] | a set of clusters that join, change and leave, and their health |
//! | `controller` | controllers of objects in several clusters, and of objects that own others across them |
//! | `argo` | what multi-cluster designs for Argo Workflows keep in Secrets, read |
//! | [`api`] | the `ServiceAccountImport` resource |
//! | [`contract`] | annotations, labels, Secret keys and paths |
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
mod error;
pub mod live;

// Public for mcsa-credentials only.
#[doc(hidden)]
pub mod kubeconfig;
#[doc(hidden)]
pub mod names;

pub use api::{ServiceAccountImport, ServiceAccountImportSpec, ServiceAccountImportStatus};
