//! A source that tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::pool::IDLE;

static SOURCE: Mutex<Option<Arc<Cluster>>> = Mutex::const_new(None);

/// Starts or returns a source `c2` that tests share. It writes an audit log.
///
/// Each test uses its own namespaces and target names there (see [`unique`]), and counts only requests for these. A
/// test that stops, blocks or unlinks a source, or lists all objects in it, must start its own.
pub async fn shared_source() -> anyhow::Result<Arc<Cluster>> {
    let mut source = SOURCE.lock().await;
    if let Some(source) = &*source {
        return Ok(source.clone());
    }
    let started = Arc::new(Cluster::builder("c2").audit_log().start().await?);
    *source = Some(started.clone());
    thread::spawn(stop_when_unused);
    Ok(started)
}

/// A name that no other test of this process has.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn stop_when_unused() {
    let mut unused_since = None;
    loop {
        thread::sleep(Duration::from_secs(1));
        let mut source = SOURCE.blocking_lock();
        if source.as_ref().is_some_and(|source| Arc::strong_count(source) > 1) {
            unused_since = None;
        } else if unused_since.get_or_insert_with(Instant::now).elapsed() >= IDLE {
            *source = None;
            return;
        }
    }
}
