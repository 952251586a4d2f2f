//! The credentials of plugins. As for kubectl, a plugin runs once in a process until its credential expires or is refused.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use kube::config::ExecConfig;
use tokio::time::Instant;

use super::plugin::{self, PluginCredential, PluginError};

/// How long the error of a plugin is returned before it runs again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A run of a plugin, which all callers await.
type Run = Shared<BoxFuture<'static, Result<Arc<PluginCredential>, PluginError>>>;

/// The latest run of each plugin. The key has its command, arguments, variables and cluster.
static RUNS: LazyLock<Mutex<HashMap<String, (Run, Instant)>>> = LazyLock::new(Mutex::default);

/// The credential of the plugin. Runs it if there is none that is valid. The run continues if the caller stops waiting.
pub(super) fn credential(exec: &ExecConfig, disable_compression: bool) -> Run {
    let mut runs = runs();
    runs.retain(|_, (run, began)| is_usable(run, *began));
    let start = || {
        let exec = exec.clone();
        let run = async move { plugin::run(exec, disable_compression).await.map(Arc::new) }.boxed().shared();
        tokio::spawn(run.clone().map(drop));
        (run, Instant::now())
    };
    runs.entry(key(exec)).or_insert_with(start).0.clone()
}

/// Forgets a credential that the cluster refused, so that the plugin runs again.
pub(super) fn refused(exec: &ExecConfig, credential: &Arc<PluginCredential>) {
    let (mut runs, key) = (runs(), key(exec));
    let is_it = |run: &Run| {
        run.peek().is_some_and(|result| result.as_ref().is_ok_and(|known| Arc::ptr_eq(known, credential)))
    };
    if runs.get(&key).is_some_and(|(run, _)| is_it(run)) {
        runs.remove(&key);
    }
}

fn is_usable(run: &Run, began: Instant) -> bool {
    match run.peek() {
        // It still runs.
        None => true,
        Some(Ok(credential)) => credential.expires_at.is_none_or(|time| time > Timestamp::now()),
        Some(Err(_)) => began.elapsed() < RETRY_AFTER,
    }
}

fn key(exec: &ExecConfig) -> String {
    let variables =
        |variable: &HashMap<String, String>| (variable.get("name").cloned(), variable.get("value").cloned());
    let variables: Vec<_> = exec.env.iter().flatten().map(variables).collect();
    let cluster = serde_json::to_string(&exec.cluster).unwrap_or_default();
    let mode = &exec.interactive_mode;
    format!("{:?}", (&exec.api_version, &exec.command, &exec.args, variables, &exec.drop_env, mode, cluster))
}

fn runs() -> MutexGuard<'static, HashMap<String, (Run, Instant)>> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}
