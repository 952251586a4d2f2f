//! What importer, webhook and kubemcsa share and outsiders don't need. It is not published, and no part of it is
//! stable.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`contract`] | the names that these programs agree on, with those that are public |
//! | [`credential`] | one credential, and its forms as the values of a Secret |
//! | [`formats`] | the same credential, as other programs read it |
//! | [`secret`] | the Secret that an import owns, whole |
//! | [`link`] | a link: the importer's own credential to one source, read from its Secret |
//! | [`token`] | how a token is requested, and what it says of itself |
//! | [`names`] | names within Kubernetes' limits |
//! | [`proxy`] | the proxy on the way to an API server |

pub mod contract;
pub mod credential;
pub mod formats;
pub mod link;
pub mod names;
pub mod secret;
pub mod token;

pub use mcsa_client::kubeconfig::proxy;
pub use secrecy::{ExposeSecret, SecretString};
