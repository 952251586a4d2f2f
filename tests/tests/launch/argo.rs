//! `--argo`: the kinds that it needs and changes. No controller of Argo runs.

use mcsa_credentials::contract::TARGET_UID;

use mcsa_tests::install_argo_kind;

use super::*;

pub(super) async fn needs_its_kinds_and_an_owner_of_outputs(pair: &Pair) -> anyhow::Result<()> {
    let stderr = pair.refused("launch team-b --argo")?;
    ensure!(stderr.contains("c1: Argo Workflows is not installed"), "{stderr}");
    install_argo_kind(&pair.target, "WorkflowTaskResult", None).await?;
    let stderr = pair.run("launch team-b --argo --no-wait --dry-run")?;
    ensure!(stderr.contains("workflowtaskresults.argoproj.io created (dry run)"), "{stderr}");
    let stderr = pair.run("launch team-b --argo --no-wait")?;
    ensure!(stderr.contains("workflowtaskresults.argoproj.io created"), "{stderr}");
    let newer =
        r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/description", "value": "newer"}]"#;
    let kind = ["patch", "crd", "workflowtaskresults.argoproj.io", "--type", "json", "--patch", newer];
    pair.target.kubectl(kind).await?;
    let stderr = pair.run("launch team-b --no-wait")?;
    ensure!(stderr.contains("workflowtaskresults.argoproj.io configured"), "{stderr}");
    let stderr = pair.run("launch team-b --no-wait")?;
    ensure!(!stderr.contains("workflowtaskresults.argoproj.io"), "{stderr}");

    // The copy for another target stays as it is.
    let other = format!("{TARGET_UID}=other");
    let annotate = ["annotate", "crd", "workflowtaskresults.argoproj.io", "--overwrite", &other];
    pair.source.kubectl(annotate).await?;
    let newest = r#"[{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/description", "value": "newest"}]"#;
    let kind = ["patch", "crd", "workflowtaskresults.argoproj.io", "--type", "json", "--patch", newest];
    pair.target.kubectl(kind).await?;
    let stderr = pair.run("launch team-b --no-wait")?;
    ensure!(!stderr.contains("workflowtaskresults.argoproj.io"), "{stderr}");
    templates_can_name_a_cluster(pair).await?;

    // Without the flag, a launch for Argo stays one. The source has an Argo of its own now.
    install_argo_kind(&pair.source, "Workflow", None).await?;
    let yaml = "launch team-b -o yaml --side source";
    let yaml = kubemcsa_ok(&pair.kubeconfig, yaml.split(' ').chain(BOTH))?;
    ensure!(yaml.contains("\nkind: Workflow\n"), "{yaml}");
    let stderr = pair.run("launch team-b --no-wait")?;
    ensure!(stderr.contains("workflow.argoproj.io/launcher-c1 -n team-b created"), "{stderr}");

    pair.target.kubectl(["-n", "team-b", "delete", "rolebinding", "launch-c2-argo"]).await?;
    ensure!(pair.findings()?.contains(&"OutputsForbidden".to_owned()), "{:?}", pair.findings()?);
    pair.run("launch team-b --no-wait")?;
    ensure!(!pair.findings()?.contains(&"OutputsForbidden".to_owned()), "{:?}", pair.findings()?);

    pair.run("launch team-b --stop")?;
    let left = pair.launched_in_source("team-b").await?;
    ensure!(left.is_empty(), "left in the source: {left}");
    ensure!(pair.created().await?.is_empty(), "left: {:?}", pair.created().await?);
    Ok(())
}

/// A full CRD of Argo lacks the template fields, before and after each upgrade.
async fn templates_can_name_a_cluster(pair: &Pair) -> anyhow::Result<()> {
    const CRD: &str = "workflowtemplates.argoproj.io";
    /// The webhook, which does not run, reviews templates of all other namespaces.
    const NAMESPACE: &str = "kube-system";
    let target = &pair.target;
    let strings = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let templates = json!({ "templates": { "type": "array", "items": strings } });
    let spec = json!({ "spec": { "type": "object", "properties": templates } });
    let full = json!({ "type": "object", "properties": spec });
    install_argo_kind(target, "WorkflowTemplate", Some(full.clone())).await?;
    let file = target.dir().join("template.json");
    let template = json!({ "name": "main", "cluster": "c2", "namespace": "batch" });
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": { "name": "placed", "namespace": NAMESPACE },
        "spec": { "templates": [template] },
    });
    std::fs::write(&file, object.to_string())?;
    let file = file.display().to_string();
    eventually("the API server refuses the fields", async || {
        let refused = target.kubectl(["create", "-f", &file]).await.err().context("it accepts them")?;
        ensure!(refused.to_string().contains(r#"unknown field "spec.templates[0].cluster""#), "{refused}");
        anyhow::Ok(())
    })
    .await;

    let stderr = pair.run("launch team-b --no-wait --dry-run")?;
    ensure!(stderr.contains(&format!("{CRD} configured (dry run)")), "{stderr}");
    let stderr = pair.run("launch team-b -o yaml")?;
    ensure!(stderr.contains(&format!("which these CRDs lack: {CRD};")), "{stderr}");
    ensure!(pair.findings()?.contains(&"TemplateFieldsMissing".to_owned()), "{:?}", pair.findings()?);
    let stderr = pair.run("launch team-b --no-wait")?;
    let outcome = format!("customresourcedefinition.apiextensions.k8s.io/{CRD} configured");
    ensure!(stderr.contains(&outcome), "{stderr}");
    ensure!(!pair.findings()?.contains(&"TemplateFieldsMissing".to_owned()), "{:?}", pair.findings()?);
    eventually("the API server accepts the fields", async || {
        target.kubectl(["create", "-f", &file]).await.map(drop)
    })
    .await;
    let fields = "jsonpath={.spec.templates[0].cluster} {.spec.templates[0].namespace}";
    let stored = target.kubectl(["-n", NAMESPACE, "get", "workflowtemplate", "placed", "-o", fields]).await?;
    ensure!(stored == "c2 batch", "{stored}");
    let stderr = pair.run("launch team-b --argo --no-wait")?;
    ensure!(!stderr.contains(CRD), "{stderr}");

    // An upgrade of Argo.
    install_argo_kind(target, "WorkflowTemplate", Some(full)).await?;
    ensure!(pair.findings()?.contains(&"TemplateFieldsMissing".to_owned()), "{:?}", pair.findings()?);
    let stderr = pair.run("launch team-b --no-wait")?;
    ensure!(stderr.contains(&outcome), "{stderr}");
    ensure!(!pair.findings()?.contains(&"TemplateFieldsMissing".to_owned()), "{:?}", pair.findings()?);
    Ok(())
}
