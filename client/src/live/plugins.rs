//! The credentials of plugins. As for kubectl, a plugin runs once in a process until its credential expires or is refused.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use jiff::Timestamp;
use kube::config::ExecConfig;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::plugin::{self, PluginCredential, PluginError};

/// How long the error of a plugin is returned before it runs again, and the shortest time between two runs because of
/// refused credentials.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A run of a plugin, which all callers await. With the time of its end.
type Run = Shared<BoxFuture<'static, (Result<Arc<PluginCredential>, PluginError>, Instant)>>;

/// The latest run of each plugin. The key has its command, arguments, variables and cluster, and the runtime, which
/// aborts the run when it ends.
static RUNS: LazyLock<Mutex<HashMap<String, Latest>>> = LazyLock::new(Mutex::default);

/// The latest run of a plugin.
struct Latest {
    run: Run,
    /// Whether a cluster has refused its credential.
    is_refused: bool,
    /// When that last made the plugin run again.
    last_refusal: Option<Instant>,
}

/// The credential of the plugin. Runs it if there is none that is valid. The run continues if the caller stops waiting.
///
/// # Errors
/// If the plugin fails, or has just failed.
pub(super) async fn credential(
    exec: &ExecConfig,
    disable_compression: bool,
) -> Result<Arc<PluginCredential>, PluginError> {
    let run = {
        let (mut runs, key) = (runs(), key(exec));
        runs.retain(|_, latest| latest.is_usable() || latest.was_just_refused());
        match runs.get(&key) {
            Some(latest) if latest.is_usable() && !latest.is_refused => latest.run.clone(),
            other => {
                let last_refusal = other.and_then(|latest| latest.last_refusal);
                let run = start(exec.clone(), disable_compression);
                runs.insert(key, Latest { run: run.clone(), is_refused: false, last_refusal });
                run
            }
        }
    };
    run.await.0
}

fn start(exec: ExecConfig, disable_compression: bool) -> Run {
    let run = async move {
        let result = plugin::run(exec, disable_compression).await.map(Arc::new);
        (result, Instant::now())
    };
    let run = run.boxed().shared();
    tokio::spawn(run.clone().map(drop));
    run
}

/// A cluster refused the credential: the plugin runs again, but a cluster that refuses each credential must not make it
/// run for each request.
pub(super) fn refused(exec: &ExecConfig, credential: &Arc<PluginCredential>) {
    if let Some(latest) = runs().get_mut(&key(exec))
        && let Some((Ok(known), _)) = latest.run.peek()
        && Arc::ptr_eq(known, credential)
        && !latest.was_just_refused()
    {
        latest.is_refused = true;
        latest.last_refusal = Some(Instant::now());
    }
}

impl Latest {
    fn is_usable(&self) -> bool {
        match self.run.peek() {
            // It still runs.
            None => true,
            Some((Ok(credential), _)) => credential.expires_at.is_none_or(|time| time > Timestamp::now()),
            Some((Err(_), ended)) => ended.elapsed() < RETRY_AFTER,
        }
    }

    fn was_just_refused(&self) -> bool {
        self.last_refusal.is_some_and(|time| time.elapsed() < RETRY_AFTER)
    }
}

fn key(exec: &ExecConfig) -> String {
    let variables =
        |variable: &HashMap<String, String>| (variable.get("name").cloned(), variable.get("value").cloned());
    let variables: Vec<_> = exec.env.iter().flatten().map(variables).collect();
    let cluster = serde_json::to_string(&exec.cluster).unwrap_or_default();
    let (mode, runtime) = (&exec.interactive_mode, Handle::try_current().map(|runtime| runtime.id()).ok());
    let program = (&exec.api_version, &exec.command, &exec.args, variables, &exec.drop_env);
    format!("{:?}", (program, mode, cluster, runtime))
}

fn runs() -> MutexGuard<'static, HashMap<String, Latest>> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}
