//! Deletes objects and reports them, or only reports them in a dry run.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::DynamicObject;

use crate::cli::output;
use crate::cluster::apply::Outcome;
use crate::cluster::deletion::wait_until_deleted;
use crate::cluster::{Cluster, delete, object};

/// Concurrent deletions.
pub(crate) const CONCURRENCY: usize = 16;

pub(crate) struct Deleter {
    pub(crate) cluster: Cluster,
    /// How long to wait until an object is deleted.
    pub(crate) timeout: Duration,
    pub(crate) dry_run: bool,
    /// Number of deleted objects; in a dry run, of those that would be deleted.
    pub(crate) deleted: usize,
    /// The references of these objects.
    recorded: BTreeSet<String>,
}

impl Deleter {
    pub(crate) fn new(cluster: Cluster, timeout: Duration, dry_run: bool) -> Self {
        Self { cluster, timeout, dry_run, deleted: 0, recorded: BTreeSet::new() }
    }

    /// Deletes an object, and waits until the API server has removed it.
    pub(crate) async fn delete(&mut self, object: &DynamicObject) -> anyhow::Result<()> {
        if !self.dry_run {
            delete::delete(&self.cluster, object).await?;
            wait_until_deleted(&self.cluster, object, self.timeout).await?;
        }
        self.record(object);
        Ok(())
    }

    /// Deletes objects concurrently, without waiting: they have no finalizers.
    pub(crate) async fn delete_all(&mut self, objects: &[DynamicObject]) -> anyhow::Result<()> {
        if !self.dry_run {
            let deletions = objects.iter().map(|object| delete::delete(&self.cluster, object));
            stream::iter(deletions).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        }
        objects.iter().for_each(|object| self.record(object));
        Ok(())
    }

    /// Counts and reports a deleted object.
    pub(crate) fn record(&mut self, object: &DynamicObject) {
        let reference = object::reference(object);
        self.deleted += 1;
        let print = if self.dry_run { output::dry_run } else { output::outcome };
        print(&self.cluster.name, &reference, Outcome::Deleted);
        self.recorded.insert(reference);
    }

    /// Whether the object with this reference was deleted, or would be.
    pub(crate) fn has_recorded(&self, reference: &str) -> bool {
        self.recorded.contains(reference)
    }
}
