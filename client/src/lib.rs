//! Kube clients for several Kubernetes clusters: configs that use service accounts of other clusters, a set of clusters
//! that changes at runtime, and controllers for all of them.
//!
//! # Example
//!
//! A `ServiceAccountImport` imports a service account of another cluster into a namespace. The importer keeps a token
//! of the service account in a Secret, and the webhook mounts the Secret into the pods that reference the import. Such
//! a pod can list the pods of the other cluster:
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
//! # Modules
//!
//! | module | contents |
//! | --- | --- |
//! | [`config`] | configs from mounted imports, Secrets, kubeconfig contexts, and the pod's own service account |
//! | [`live`] | configs that reload while they are in use |
//! | [`clusters`] | a set of clusters that join, change and leave, and their health |
//! | `controller` | controllers for objects in several clusters, with owners and garbage collection across clusters |
//! | `argo` | reads the Secrets of multi-cluster designs for Argo Workflows |
//! | [`api`] | the `ServiceAccountImport` resource |
//! | [`contract`] | annotations, labels, Secret keys and paths |
//!
//! # Features
//!
//! `controller` and `argo` enable the modules of these names. Both are off by default.
//!
//! Your program selects the version of Kubernetes, as usual: depend on [`k8s_openapi`] with a feature such as `v1_33`.
//!
//! # Versions
//!
//! The minimum Rust version is 1.91; a minor version of this crate may raise it. This crate's API contains types of
//! kube, so each new major version of kube requires a new major version of this crate.

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
