//! Removal, or a rehearsal of it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::DynamicObject;

use crate::cli::output;
use crate::cluster::apply::Outcome;
use crate::cluster::gone::until_gone;
use crate::cluster::{Cluster, delete, object};

/// How many deletions are on their way at once.
pub const CONCURRENCY: usize = 16;

/// Removes objects, or only says that it would.
pub struct Deleter {
    /// Where.
    pub cluster: Cluster,
    /// How long to wait until something is gone.
    pub timeout: Duration,
    /// Whether nothing is to be removed.
    pub dry_run: bool,
    /// How much was removed, or would be.
    pub deleted: usize,
}

impl Deleter {
    /// That has taken nothing yet.
    pub fn new(cluster: Cluster, timeout: Duration, dry_run: bool) -> Self {
        Self { cluster, timeout, dry_run, deleted: 0 }
    }

    /// Removes an object, and waits until it is gone.
    ///
    /// # Errors
    /// When it can't be removed, or is not gone in time.
    pub async fn delete(&mut self, object: &DynamicObject) -> anyhow::Result<()> {
        if !self.dry_run {
            delete::delete(&self.cluster, object).await?;
            until_gone(&self.cluster, object, self.timeout).await?;
        }
        self.record(object);
        Ok(())
    }

    /// Removes objects that nothing holds, many at once.
    ///
    /// # Errors
    /// When one can't be removed.
    pub async fn delete_all(&mut self, objects: &[DynamicObject]) -> anyhow::Result<()> {
        if !self.dry_run {
            let removals = objects.iter().map(|object| delete::delete(&self.cluster, object));
            stream::iter(removals).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        }
        objects.iter().for_each(|object| self.record(object));
        Ok(())
    }

    /// Says that an object was removed, or would be.
    pub fn record(&mut self, object: &DynamicObject) {
        self.deleted += 1;
        let say = if self.dry_run { output::dry_run } else { output::outcome };
        say(&self.cluster.name, &object::reference(object), Outcome::Deleted);
    }
}
