//! How long an API server may leave us waiting.

use std::time::Duration;

use kube::Config;

/// How long it may take to answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A connection that is silent for so long is dead: API servers send a bookmark on each watch every
/// minute (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>).
const SILENCE: Duration = Duration::from_secs(100);

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Makes a client of this config find out soon that nobody answers.
pub fn harden(config: &mut Config) {
    // A failed call is the caller's to repeat, with what is known by then.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
}

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
