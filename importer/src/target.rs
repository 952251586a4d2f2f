//! Calls to the target, which have to be answered in time like those to a source.

use std::time::Duration;

/// How long an API server may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The answer, or an error when it does not come in time.
///
/// # Errors
/// Those of the call, and that one.
pub async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer within {} s", DEADLINE.as_secs()).into())),
    }
}
