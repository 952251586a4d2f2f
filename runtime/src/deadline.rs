//! Timeouts of calls to API servers.

use std::error::Error;
use std::time::Duration;

use kube::Config;

use crate::errors;

/// Longest wait for a response.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A connection that receives nothing for this long is dead: API servers send a bookmark on each watch
/// every minute (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>).
const READ_TIMEOUT: Duration = Duration::from_secs(100);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets timeouts, so that clients soon detect an unreachable API server.
pub fn set_timeouts(config: &mut Config) {
    // The caller retries, with its newest state.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
}

/// A call took longer than [`DEADLINE`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no response within {}s", DEADLINE.as_secs())]
pub struct NoResponse;

impl NoResponse {
    /// Whether the error, such as a [`kube::Error`], has this cause.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        errors::causes(error).any(|cause| cause.is::<Self>())
    }
}

/// Awaits a call for at most [`DEADLINE`].
///
/// # Errors
/// If the call fails or takes longer.
pub async fn with_deadline<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service(NoResponse.into())),
    }
}
