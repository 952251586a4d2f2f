#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! | module | contents |
//! | --- | --- |
//! | [`config`] | configs from mounted imports, Secrets, kubeconfig contexts, and the pod's own service account |
//! | [`live`] | configs that reload while they are in use |
//! | [`clusters`] | a set of clusters that join, change and leave, and their health |
//! | `controller` | controllers for objects in several clusters, with owners and garbage collection across clusters |
//! | `argo` | reads the Secrets of multi-cluster designs for Argo Workflows |
//! | [`api`] | the `ServiceAccountImport` resource |
//! | [`policy`] | the `ImportPolicy` resource |
//! | [`contract`] | annotations, labels, Secret keys and paths |

#![cfg_attr(docsrs, feature(doc_cfg))]

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
pub mod policy;

// Public for mcsa-credentials only.
#[doc(hidden)]
pub mod kubeconfig;
#[doc(hidden)]
pub mod names;

pub use api::{ServiceAccountImport, ServiceAccountImportSpec, ServiceAccountImportStatus};
pub use policy::{ImportPolicy, ImportPolicySpec};
