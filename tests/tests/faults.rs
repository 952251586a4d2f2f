//! Faults in real API servers: what the import reports, that it keeps a working credential, and that it recovers.

mod away;
mod hostile;
mod identity;
mod killed;
mod lifetime;
mod load;
mod refused;
mod stale;
mod target;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use mcsa_client::ServiceAccountImport;
use mcsa_tests::{Importer, Imports, eventually, pod_lister_import};

/// An import of `pod-lister` with a token of a day, which is valid however far a test advances its clock.
fn for_a_day(name: &str, cluster: &str, namespace: &str) -> ServiceAccountImport {
    let mut import = pod_lister_import(name, cluster, namespace);
    import.spec.expiration_seconds = 86_400;
    import
}

/// An import, and the importer that serves it.
struct Subject<'a> {
    importer: &'a Importer,
    imports: &'a Imports,
    name: &'a str,
}

/// A failed refresh of an import.
struct FailedRefresh {
    /// The message of the condition `Refreshed`.
    message: String,
    /// The credential that the import kept.
    values: BTreeMap<String, String>,
}

impl Subject<'_> {
    /// The values of its Secret.
    async fn values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.imports.values(&format!("{}-token", self.name)).await
    }

    /// Waits until it is ready.
    async fn ready(&self) -> ServiceAccountImport {
        eventually(format!("{} is ready", self.name), async || self.imports.ready(self.name).await).await
    }

    /// Waits until a refresh fails for this reason; returns the message.
    async fn fails(&self, reason: &str) -> anyhow::Result<String> {
        let failed = eventually(format!("{} reports {reason}", self.name), async || {
            self.imports.condition(self.name, "Refreshed", "False", Some(reason)).await
        })
        .await;
        Ok(failed.condition("Refreshed").context("no condition")?.message.clone())
    }

    /// Advances the clock to the refresh, and waits until it fails for this reason. The credential must not change.
    async fn refresh_fails(&self, reason: &str) -> anyhow::Result<FailedRefresh> {
        let values = self.values().await?;
        self.importer.advance_to_refresh(self.imports, self.name).await?;
        let message = self.fails(reason).await?;
        ensure!(self.values().await? == values, "the credential was changed");
        self.imports.ready(self.name).await.context("the credential still works")?;
        Ok(FailedRefresh { message, values })
    }

    /// Waits until it has another token than `before`, and its last refresh succeeded.
    async fn has_another(&self, before: &BTreeMap<String, String>) {
        eventually(format!("{} is refreshed", self.name), async || {
            let import = self.imports.api.get(self.name).await?;
            let (values, refreshed) = (self.values().await?, import.condition("Refreshed"));
            ensure!(values["token"] != before["token"], "it has the same token, and reports {refreshed:?}");
            self.imports.condition(self.name, "Refreshed", "True", None).await
        })
        .await;
    }

    /// Ends any back-off, and waits until it is refreshed.
    async fn recovers(&self, failed: &FailedRefresh) {
        self.importer.clock.advance(SignedDuration::from_mins(5));
        self.has_another(&failed.values).await;
    }
}
