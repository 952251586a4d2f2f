//! Service accounts of other clusters, imported: the `ServiceAccountImport` API, the form of the
//! Secrets that hold its credentials, and [`kube::Config`]s made from them.
//!
//! A program in a pod that was annotated with the name of an import needs one line:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client: kube::Client = mcsa_client::config::import("c2-pod-lister")?.client();
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`config`] | kube configs from the imports that are mounted in this pod |
//! | [`api`] | the `ServiceAccountImport` resource |
//! | [`contract`] | the names that all parts agree on: annotations, labels, keys, paths |
//! | [`credential`] | one credential, and its forms as the values of a Secret |
//! | [`formats`] | the same credential, as other programs read it |
//! | [`secret`] | the Secret that an import owns, whole |
//! | [`link`] | a link: the importer's own credential to one source, read from its Secret |
//! | [`token`] | how a token is asked for, and what it says of itself |

pub mod api;
#[cfg(feature = "argo")]
pub mod argo;
pub mod clusters;
pub mod config;
pub mod contract;
pub mod credential;
pub mod formats;
mod kubeconfig;
pub mod link;
pub mod live;
pub mod names;
pub mod proxy;
pub mod secret;
pub mod token;

pub use api::{ServiceAccountImport, ServiceAccountImportSpec, ServiceAccountImportStatus};
pub use secrecy::{ExposeSecret, SecretString};
