//! Measures how soon clusters join and leave.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_tests::pod_lister_import;
use serde_json::json;
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::watchers::{Observation, Watcher};

/// How many times an import is created and deleted. The table shows the median.
const ROUNDS: usize = 5;

/// Durations until the first reconciliation, or until the member is removed.
#[derive(Default)]
pub struct Joins {
    pub context: Duration,
    pub context_removed: Duration,
    pub imports: Vec<Duration>,
    pub imports_deleted: Vec<Duration>,
    /// For comparison: kube's watcher of imports, in one cluster.
    pub watcher: Vec<Duration>,
    pub watcher_deleted: Vec<Duration>,
}

/// Adds a context.
pub async fn context(fixture: &Fixture, ours: &mut Watcher, joins: &mut Joins) -> anyhow::Result<()> {
    let version = fixture.change("context").await?;
    fixture.set_context_listed(true)?;
    joins.context = ours.observed(&Observation::Object("c2".into(), version), Instant::now()).await?;
    Ok(())
}

/// Removes the context.
pub async fn context_removed(fixture: &Fixture, ours: &mut Watcher, joins: &mut Joins) -> anyhow::Result<()> {
    fixture.set_context_listed(false)?;
    joins.context_removed = ours.observed(&Observation::Removed("c2".into()), Instant::now()).await?;
    Ok(())
}

/// Creates and deletes imports, one after the other.
pub async fn imports(fixture: &Fixture, ours: &mut Watcher, joins: &mut Joins) -> anyhow::Result<()> {
    let grant =
        "create clusterrolebinding bench --clusterrole=cluster-admin --serviceaccount=default:default";
    fixture.source.kubectl(grant.split(' ')).await?;
    let kubeconfig = std::fs::read_to_string(fixture.source.kubeconfig_of("default", "default").await?)?;
    let (imports, secrets) = (fixture.imports(), Api::<Secret>::default_namespaced(fixture.target.client()));
    let mut watcher = Watcher::of::<ServiceAccountImport>(imports.clone(), Default::default());
    let create = PostParams::default();
    for number in 0..ROUNDS {
        let version = fixture.change(&format!("import {number}")).await?;
        let name = format!("i{number}");
        let import = imports.create(&create, &pod_lister_import(&name, "c2", "default")).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": import.secret_name(), "namespace": "default" },
            "stringData": { "kubeconfig": kubeconfig },
        });
        secrets.create(&create, &serde_json::from_value(secret)?).await?;
        let status = json!({ "status": { "expirationTime": "2036-01-01T00:00:00Z" } });
        let started = Instant::now();
        let import = imports.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        let applied = Observation::Object("".into(), import.resource_version().unwrap_or_default());
        joins.watcher.push(watcher.observed(&applied, started).await?);
        joins
            .imports
            .push(ours.observed(&Observation::Object(name.as_str().into(), version), started).await?);

        let started = Instant::now();
        imports.delete(&name, &Default::default()).await?;
        joins.watcher_deleted.push(watcher.observed(&Observation::Removed("".into()), started).await?);
        joins.imports_deleted.push(ours.observed(&Observation::Removed(name.into()), started).await?);
    }
    Ok(())
}
