//! What the chart renders is what the manifests have.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{helm, kubectl, kubemcsa_ok};
use serde_json::{Value, json};

use super::objects::Objects;
use super::{CHART, KEEP, KEPT};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the release has, by these values, in a namespace other than the system namespace.
pub async fn rendered(values: &[&str]) -> anyhow::Result<Objects> {
    let set = values.iter().flat_map(|value| ["--set", value]);
    let args = ["template", "mcsa", CHART, "--namespace", "default"].into_iter().chain(set);
    Objects::parse(&helm("/nonexistent", args).await?)
}

/// The same without what only the chart says: of which objects helm is to leave there.
async fn rendered_but_kept(values: &[&str]) -> anyhow::Result<Objects> {
    let mut objects = rendered(values).await?;
    for title in KEPT {
        let metadata = objects.get_mut(title)?["metadata"].as_object_mut().context("no metadata")?;
        let annotations = metadata.remove("annotations");
        ensure!(
            annotations == Some(json!({ KEEP.0: KEEP.1 })),
            "{title}: /metadata/annotations is {annotations:?}"
        );
    }
    Ok(objects)
}

/// What kubemcsa install applies, with these arguments.
fn installed(args: &[&str]) -> anyhow::Result<Objects> {
    let args = ["install", "-o", "yaml"].iter().chain(args).copied();
    Objects::parse(&kubemcsa_ok(Path::new("/nonexistent"), args)?)
}

/// What kubectl applies from a folder of this repository.
async fn kustomized(folder: &str) -> anyhow::Result<Objects> {
    Objects::parse(&kubectl("/nonexistent", ["kustomize", &format!("{ROOT}/{folder}")]).await?)
}

fn of_webhook(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/name"] == "webhook"
}

#[tokio::test]
async fn by_default_it_is_what_is_installed_without_it() -> anyhow::Result<()> {
    let chart = rendered_but_kept(&[]).await?;
    chart.are(&installed(&[])?)?;
    chart.are(&kustomized("manifests").await?)
}

#[tokio::test]
async fn cert_manager_makes_the_certificates() -> anyhow::Result<()> {
    let chart = rendered_but_kept(&["webhook.certificates=cert-manager"]).await?;
    chart.are(&kustomized("examples/cert-manager").await?)
}

#[tokio::test]
async fn metrics_are_seen() -> anyhow::Result<()> {
    const ALL: [&str; 3] = [
        "metrics.podMonitors.enabled=true",
        "metrics.prometheusRule.enabled=true",
        "metrics.dashboard.enabled=true",
    ];
    let monitoring = kustomized("manifests/monitoring").await?;
    let mut expected = installed(&[])?;
    expected.extend(monitoring.clone());
    rendered_but_kept(&ALL).await?.are(&expected)?;

    for (value, kind) in ALL.iter().zip(["PodMonitor", "PrometheusRule", "ConfigMap"]) {
        let mut expected = installed(&[])?;
        expected.extend(monitoring.clone().retain(|object| object["kind"] == kind));
        rendered_but_kept(&[value]).await?.are(&expected)?;
    }

    // Where there is no webhook, nobody is woken up for want of one.
    let mut expected = expected_without_webhook(&monitoring)?;
    expected.extend(installed(&[])?.retain(|object| !of_webhook(object)));
    let values: Vec<_> = ALL.into_iter().chain(["webhook.enabled=false"]).collect();
    rendered_but_kept(&values).await?.are(&expected)?;

    // A Prometheus that looks for a label finds what is for it, which is otherwise the same.
    let mut labelled = rendered(&[&ALL[..], &["metrics.labels.release=prometheus"]].concat()).await?;
    for object in [
        "PodMonitor multicluster-service-account/importer",
        "PodMonitor multicluster-service-account/webhook",
        "PrometheusRule multicluster-service-account/multicluster-service-account",
    ] {
        let labels = labelled.get_mut(object)?["metadata"]["labels"].as_object_mut().context("no labels")?;
        ensure!(labels.remove("release") == Some("prometheus".into()), "{object} has only {labels:?}");
    }
    labelled.are(&rendered(&ALL).await?)
}

/// What manifests/monitoring has, but of the webhook.
fn expected_without_webhook(monitoring: &Objects) -> anyhow::Result<Objects> {
    let mut objects = monitoring.clone().retain(|object| !of_webhook(object));
    let rule = "PrometheusRule multicluster-service-account/multicluster-service-account";
    let groups = objects.get_mut(rule)?["spec"]["groups"].as_array_mut().context("no groups")?;
    let all = groups.len();
    groups.retain(|group| !group["name"].as_str().is_some_and(|name| name.ends_with("-webhook")));
    ensure!(groups.len() == all - 1 && !groups.is_empty(), "{all} groups, now {}", groups.len());
    Ok(objects)
}

#[tokio::test]
async fn without_the_webhook_nothing_of_it_is_there() -> anyhow::Result<()> {
    let expected = installed(&[])?.retain(|object| !of_webhook(object));
    rendered_but_kept(&["webhook.enabled=false"]).await?.are(&expected)?;
    let values = ["webhook.enabled=false", "webhook.certificates=cert-manager"];
    rendered_but_kept(&values).await?.are(&expected)
}

#[tokio::test]
async fn an_importer_of_some_namespaces_has_roles_there_alone() -> anyhow::Result<()> {
    let expected = installed(&["--namespaces", "a,b"])?;
    rendered_but_kept(&["importer.namespaces={a,b}"]).await?.are(&expected)?;
    // Its own is among those that it serves, and named twice is named once.
    let expected = installed(&["--namespaces", &format!("a,{SYSTEM_NAMESPACE}")])?;
    let own = format!("importer.namespaces={{a,{SYSTEM_NAMESPACE},a}}");
    rendered_but_kept(&[&own]).await?.are(&expected)
}

#[tokio::test]
async fn a_release_in_the_system_namespace_leaves_it_to_whoever_made_it() -> anyhow::Result<()> {
    let args = ["template", "mcsa", CHART, "--namespace", SYSTEM_NAMESPACE];
    let mut objects = rendered(&[]).await?;
    objects.remove(KEPT[0])?;
    Objects::parse(&helm("/nonexistent", args).await?)?.are(&objects)
}

#[tokio::test]
async fn the_definition_can_be_let_go_and_left_out() -> anyhow::Result<()> {
    let mut expected = rendered(&[]).await?;
    let crd = expected.get_mut(KEPT[1])?["metadata"].as_object_mut().context("no metadata")?;
    crd.remove("annotations").context("it is not kept")?;
    rendered(&["crd.keep=false"]).await?.are(&expected)?;
    expected.remove(KEPT[1])?;
    rendered(&["crd.install=false"]).await?.are(&expected)
}

/// A chart can't read what is not below its folder.
#[test]
fn what_the_chart_has_twice_is_the_same() -> anyhow::Result<()> {
    let mut files =
        ["crd.yaml", "policy.yaml", "monitoring/dashboard.json", "monitoring/prometheusrule.yaml"].map(
            |file| {
                let original = Path::new(ROOT).join("manifests").join(file);
                (original.file_name().map(ToOwned::to_owned), original)
            },
        );
    files.sort();
    let folder = Path::new(CHART).join("files");
    let there = fs::read_dir(&folder)?.map(|file| Ok(Some(file?.file_name())));
    let mut there = there.collect::<anyhow::Result<Vec<_>>>()?;
    there.sort();
    ensure!(there.iter().eq(files.iter().map(|(name, _)| name)), "manifests/helm/files has {there:?}");
    for (name, original) in files {
        let copy = folder.join(name.context("no name")?);
        let drifted = fs::read(&copy)? != fs::read(&original)?;
        ensure!(!drifted, "{} has drifted: cp {} {}", copy.display(), original.display(), copy.display());
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_has_the_version_of_the_workspace_and_no_faults() -> anyhow::Result<()> {
    let chart: Value = serde_saphyr::from_str(&helm("/nonexistent", ["show", "chart", CHART]).await?)?;
    for version in ["version", "appVersion"] {
        ensure!(chart[version] == env!("CARGO_PKG_VERSION"), "{version} is {}", chart[version]);
    }
    ensure!(chart["name"] == SYSTEM_NAMESPACE, "{chart}");
    helm("/nonexistent", ["lint", "--strict", CHART]).await.map(drop)
}
