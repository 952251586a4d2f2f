//! What goes wrong in the world, made to happen to real API servers: what the import says then, that a
//! credential which works is left alone, and that all is well again afterwards.

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

/// An import with a token of a day: a clock that is turned from fault to fault does not outrun it.
fn for_a_day(name: &str, cluster: &str) -> ServiceAccountImport {
    let mut import = pod_lister_import(name, cluster, "lister");
    import.spec.expiration_seconds = 86_400;
    import
}

/// An import that is ready, and what happens to it.
struct Subject<'a> {
    importer: &'a Importer,
    imports: &'a Imports,
    name: &'a str,
}

/// What an import said when its refresh failed, and the credential that it keeps.
struct Unharmed {
    said: String,
    values: BTreeMap<String, String>,
}

impl Subject<'_> {
    async fn values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.imports.values(&format!("{}-token", self.name)).await
    }

    /// Waits until it is ready.
    async fn ready(&self) -> ServiceAccountImport {
        eventually(format!("{} is ready", self.name), async || self.imports.ready(self.name).await).await
    }

    /// Waits until its last try has failed for this reason; gives what it says.
    async fn fails(&self, reason: &str) -> anyhow::Result<String> {
        let failed = eventually(format!("{} says {reason}", self.name), async || {
            self.imports.condition(self.name, "Refreshed", "False", Some(reason)).await
        })
        .await;
        Ok(failed.condition("Refreshed").context("no condition")?.message.clone())
    }

    /// Has its refresh fail for this reason, which must do no harm to the credential.
    async fn fails_unharmed(&self, reason: &str) -> anyhow::Result<Unharmed> {
        let values = self.values().await?;
        self.importer.advance_to_refresh(self.imports, self.name).await?;
        let said = self.fails(reason).await?;
        ensure!(self.values().await? == values, "the credential was touched");
        self.imports.ready(self.name).await.context("the credential still works")?;
        Ok(Unharmed { said, values })
    }

    /// Waits until it has another token than `before`, and is all right.
    async fn has_another(&self, before: &BTreeMap<String, String>) {
        eventually(format!("{} is refreshed", self.name), async || {
            let import = self.imports.api.get(self.name).await?;
            let (values, says) = (self.values().await?, import.condition("Refreshed"));
            ensure!(values["token"] != before["token"], "it has the token of before, and says {says:?}");
            self.imports.condition(self.name, "Refreshed", "True", None).await
        })
        .await;
    }

    /// Lets any back-off be over, and waits until it is refreshed; it may have been by itself.
    async fn recovers(&self, failed: &Unharmed) {
        self.importer.clock.turn(SignedDuration::from_mins(5));
        self.has_another(&failed.values).await;
    }
}
