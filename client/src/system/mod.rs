//! What the programs of this system share, beyond what they promise to others: no part of it is stable.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`credential`] | one credential, and its forms as the values of a Secret |
//! | [`formats`] | the same credential, as other programs read it |
//! | [`secret`] | the Secret that an import owns, whole |
//! | [`link`] | a link: the importer's own credential to one source, read from its Secret |
//! | [`token`] | how a token is asked for, and what it says of itself |
//! | [`names`] | names within Kubernetes' limits |
//! | [`proxy`] | the proxy on the way to an API server |

pub mod credential;
pub mod formats;
#[cfg(feature = "system")]
pub mod link;
pub mod names;
pub mod proxy;
#[cfg(feature = "system")]
pub mod secret;
#[cfg(feature = "system")]
pub mod token;
