//! Deployments whose pods are refused. Their conditions are the only trace of pods that were never created.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{IMPORT_NAME, webhook};
use mcsa_credentials::names::comma_separated;

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};
use crate::commands::check::facts::RefusedDeployment;

/// Reads all namespaces, or one.
pub(crate) async fn collect(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<RefusedDeployment>, CallError> {
    let api: Api<Deployment> = list::within(cluster, namespace);
    let page = async |params: &ListParams| api.list(params).await;
    let mut refused = Vec::new();
    list::each_page(cluster, "list deployments", ListParams::default(), page, |page| {
        refused.extend(page.into_iter().filter_map(refused_deployment));
    })
    .await?;
    Ok(refused)
}

fn refused_deployment(deployment: Deployment) -> Option<RefusedDeployment> {
    let template = &deployment.spec.as_ref()?.template;
    let imports = template.metadata.as_ref()?.annotations.as_ref()?.get(IMPORT_NAME)?;
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions.iter().find(|it| it.type_ == "ReplicaFailure" && it.status == "True")?;
    let message = failure.message.clone().filter(|message| message.contains(webhook::ENTRY))?;
    Some(RefusedDeployment {
        namespace: deployment.namespace().unwrap_or_default(),
        name: deployment.name_any(),
        imports: comma_separated(imports).map(str::to_owned).collect(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::by_the_webhook(
        "admission webhook \"pods.multicluster.admiralty.io\" denied the request: no",
        "True",
        true
    )]
    #[case::no_longer_refused(
        "admission webhook \"pods.multicluster.admiralty.io\" denied the request: no",
        "False",
        false
    )]
    #[case::by_a_quota("exceeded quota", "True", false)]
    fn refusals_by_the_webhook_are_recognized(
        #[case] message: &str,
        #[case] status: &str,
        #[case] expected: bool,
    ) {
        let template = json!({ "metadata": { "annotations": { IMPORT_NAME: "a,b" } } });
        let condition = json!({ "type": "ReplicaFailure", "status": status, "message": message });
        let deployment = json!({
            "metadata": { "namespace": "team", "name": "lister" },
            "spec": { "selector": {}, "template": template },
            "status": { "conditions": [condition] },
        });
        let refused = refused_deployment(serde_json::from_value(deployment).unwrap());
        assert_eq!(refused.map(|refused| refused.imports), expected.then(|| vec!["a".into(), "b".into()]));
    }
}
