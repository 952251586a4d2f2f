//! What importer, webhook and kubemcsa share. Not published, and not stable.
//!
//! | module | contents |
//! | --- | --- |
//! | [`contract`] | names that these programs share |
//! | [`credential`] | a credential, and its forms as the values of a Secret |
//! | [`formats`] | the formats of other programs |
//! | [`secret`] | the Secret of an import |
//! | [`link`] | links: the importer's credentials for sources |
//! | [`token`] | token requests, and the claims of tokens |
//! | [`permission`] | what ImportPolicies decide about an import, as messages |
//! | [`names`] | names within the limits of Kubernetes |
//! | [`proxy`] | the proxy for an API server |
//! | [`url`] | URLs in messages |

pub mod contract;
pub mod credential;
pub mod formats;
pub mod link;
pub mod names;
pub mod permission;
pub mod secret;
pub mod token;

pub use mcsa_client::kubeconfig::{proxy, url};
pub use secrecy::{ExposeSecret, SecretString};
