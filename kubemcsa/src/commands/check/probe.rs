//! Second step: requests that the importer check whether it reaches the sources. This machine may have other routes.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::{CHECK_REQUESTED, SYSTEM_NAMESPACE};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::facts::{CheckRequest, Facts};
use crate::cli::output;
use crate::cluster::apply::FIELD_MANAGER;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

const PAUSE: Duration = Duration::from_millis(250);

/// Requests a check of each link that has an import, and waits for the results until the timeout. If no importer runs,
/// or the request fails, findings rely on the last status.
pub(crate) async fn probe(cluster: &Cluster, facts: &mut Facts, timeout: Duration) {
    let names: Vec<_> = facts.link_imports().map(ResourceExt::name_any).collect();
    if names.is_empty() || !may_respond(facts) {
        return;
    }
    let sources = if names.len() == 1 { "the source is" } else { "the sources are" };
    output::info(&cluster.name, &format!("waiting for the importer to check whether {sources} reachable"));
    // With fractions of a second, no two requests are the same.
    let request = Timestamp::now().to_string();
    facts.check_request = match request_all(cluster, &names, &request).await {
        Ok(()) => CheckRequest::Sent { request: request.clone(), seconds: timeout.as_secs() },
        Err(error) => CheckRequest::Failed(error.to_string()),
    };
    if let CheckRequest::Sent { .. } = &facts.check_request {
        wait(cluster, facts, &request, timeout).await;
    }
}

/// Whether an importer might run.
fn may_respond(facts: &Facts) -> bool {
    let importer = &facts.importer;
    let is_available = importer.deployment.as_ref().is_some_and(|deployment| deployment.available > 0);
    // An importer without leader election has no Lease.
    facts.importer_may_run() || (importer.lease.is_none() && is_available)
}

async fn request_all(cluster: &Cluster, names: &[String], request: &str) -> Result<(), CallError> {
    let links: Api<ServiceAccountImport> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { CHECK_REQUESTED: request } } }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    for name in names {
        let doing = format!("annotate service account import {SYSTEM_NAMESPACE}/{name}");
        match cluster.call(&doing, links.patch_metadata(name, &params, &patch)).await {
            Ok(_) => {}
            // It was deleted meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn wait(cluster: &Cluster, facts: &mut Facts, request: &str, timeout: Duration) {
    let end = Instant::now() + timeout;
    loop {
        let imports = list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::link_params()).await;
        let Ok(imports) = imports else { return };
        for link in facts.links.iter_mut().flatten() {
            let name = link.import.as_ref().map(ResourceExt::name_any);
            if let Some(import) = imports.iter().find(|import| Some(import.name_any()) == name) {
                link.import = Some(import.clone());
            }
        }
        if imports.iter().all(|import| has_result(import, request)) || Instant::now() >= end {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Whether the status has the result of this request.
pub(crate) fn has_result(import: &ServiceAccountImport, request: &str) -> bool {
    let checked = import.status.as_ref().and_then(|status| status.checked_request.as_deref());
    checked == Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::{DeploymentStatus, Importer};
    use k8s_openapi::api::coordination::v1::Lease;
    use rstest::rstest;

    #[rstest]
    #[case::has_leader(true, true, true, 0, true)]
    #[case::without_leader_election(false, true, false, 1, true)]
    #[case::lease_without_holder(false, true, true, 1, false)]
    #[case::no_importer(false, true, false, 0, false)]
    #[case::not_readable(false, false, false, 0, true)]
    fn requests_are_sent_only_if_an_importer_may_run(
        #[case] has_leader: bool,
        #[case] is_readable: bool,
        #[case] has_lease: bool,
        #[case] available: i32,
        #[case] expected: bool,
    ) {
        let importer = Importer {
            has_leader,
            is_readable,
            lease: has_lease.then(Lease::default),
            deployment: Some(DeploymentStatus { desired: 2, available }),
            ..Default::default()
        };
        assert_eq!(may_respond(&Facts { importer, ..Default::default() }), expected);
    }
}
