//! Why a certificate or an authority is unusable.

use jiff::Timestamp;
use rustls::Error as TlsError;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the Secret does not exist")]
    NoSecret,
    /// A part is missing or not valid PEM.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
    /// For example, its key is missing, as with cert-manager.
    #[error("ca.crt is not an authority of this webhook with the key ca.key")]
    Foreign,
    /// For example, the key belongs to another certificate.
    #[error("it can't be served: {0}")]
    Unservable(TlsError),
    /// Clients that trust the authorities would reject it.
    #[error("it can't be verified: {0}")]
    Unverifiable(TlsError),
    /// Clients that connect to this name would reject it.
    #[error("it is not valid for {name}: {error}")]
    WrongName { name: String, error: TlsError },
    #[error("it is only valid from {0}")]
    NotYetValid(Timestamp),
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It is still valid.
    #[error("it expires at {0}")]
    RenewalDue(Timestamp),
    #[error("can't generate it: {0}")]
    NotGenerated(#[from] rcgen::Error),
}
