//! Second step: the importer is asked whether it reaches the sources. From here, that could only be guessed.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::{CHECK_REQUESTED, SYSTEM_NAMESPACE};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::facts::{Asked, Facts};
use crate::cli::output;
use crate::cluster::apply::FIELD_MANAGER;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

const PAUSE: Duration = Duration::from_millis(250);

/// Asks about each link that has an import, and waits for the answers, but not for ever. Where there is
/// nobody to answer, or we may not ask, the status has to do.
pub async fn probe(cluster: &Cluster, facts: &mut Facts, patience: Duration) {
    let names: Vec<_> = facts.link_imports().map(ResourceExt::name_any).collect();
    if names.is_empty() || !may_answer(facts) {
        return;
    }
    let source = if names.len() == 1 { "the source" } else { "the sources" };
    output::say(&cluster.name, &format!("asking the importer whether it reaches {source}"));
    // With fractions, no two requests are the same.
    let request = Timestamp::now().to_string();
    facts.asked = match request_all(cluster, &names, &request).await {
        Ok(()) => Asked::Request(request.clone(), patience.as_secs()),
        Err(error) => Asked::Refused(error.to_string()),
    };
    if let Asked::Request(..) = &facts.asked {
        wait(cluster, facts, &request, patience).await;
    }
}

/// Whether there may be an importer, as far as it can be seen.
fn may_answer(facts: &Facts) -> bool {
    let importer = &facts.importer;
    let is_deployed = importer.deployment.as_ref().is_some_and(|deployed| deployed.available > 0);
    // One that takes part in no election has no Lease.
    importer.is_leading || !importer.is_seen || (importer.lease.is_none() && is_deployed)
}

async fn request_all(cluster: &Cluster, names: &[String], request: &str) -> Result<(), CallError> {
    let links: Api<ServiceAccountImport> = Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { CHECK_REQUESTED: request } } }));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    for name in names {
        let doing = format!("annotate service account import {SYSTEM_NAMESPACE}/{name}");
        match cluster.call(&doing, links.patch_metadata(name, &params, &patch)).await {
            Ok(_) => {}
            // It went meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn wait(cluster: &Cluster, facts: &mut Facts, request: &str, patience: Duration) {
    let end = Instant::now() + patience;
    loop {
        let now = list::readable_imports(cluster, Some(SYSTEM_NAMESPACE), list::links()).await;
        let Ok(now) = now else { return };
        for link in facts.links.iter_mut().flatten() {
            let known = link.import.as_ref().map(ResourceExt::name_any);
            if let Some(import) = now.iter().find(|import| Some(import.name_any()) == known) {
                link.import = Some(import.clone());
            }
        }
        if now.iter().all(|import| is_answered(import, request)) || Instant::now() >= end {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Whether the status answers this very request.
pub fn is_answered(import: &ServiceAccountImport, request: &str) -> bool {
    let answered = import.status.as_ref().and_then(|status| status.checked_request.as_deref());
    answered == Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::facts::{Deployed, Importer};
    use k8s_openapi::api::coordination::v1::Lease;
    use rstest::rstest;

    #[rstest]
    #[case::leads(true, true, true, 0, true)]
    #[case::without_election(false, true, false, 1, true)]
    #[case::nobody_holds_the_lease(false, true, true, 1, false)]
    #[case::none(false, true, false, 0, false)]
    #[case::unseen(false, false, false, 0, true)]
    fn whether_there_is_anybody_to_ask(
        #[case] is_leading: bool,
        #[case] is_seen: bool,
        #[case] has_lease: bool,
        #[case] available: i32,
        #[case] expected: bool,
    ) {
        let importer = Importer {
            is_leading,
            is_seen,
            lease: has_lease.then(Lease::default),
            deployment: Some(Deployed { wanted: 2, available }),
            ..Default::default()
        };
        assert_eq!(may_answer(&Facts { importer, ..Default::default() }), expected);
    }
}
