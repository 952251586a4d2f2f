//! The chart renders the same objects as the manifests.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{helm, kubectl, kubemcsa_ok};
use serde_json::{Value, json};

use super::objects::Objects;
use super::{CHART, KEEP, KEPT};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The objects that the chart renders with these values, for a release in another namespace than the system namespace.
pub async fn rendered(values: &[&str]) -> anyhow::Result<Objects> {
    let set = values.iter().flat_map(|value| ["--set", value]);
    let args = ["template", "mcsa", CHART, "--namespace", "default"].into_iter().chain(set);
    Objects::parse(&helm("/nonexistent", args).await?)
}

/// The same without the annotation that makes helm keep objects, which only the chart has.
async fn rendered_without_keep(values: &[&str]) -> anyhow::Result<Objects> {
    let mut objects = rendered(values).await?;
    for title in KEPT {
        let metadata =
            objects.get_mut(title)?["metadata"].as_object_mut().context("the object has no metadata")?;
        let annotations = metadata.remove("annotations");
        ensure!(
            annotations == Some(json!({ KEEP.0: KEEP.1 })),
            "{title}: /metadata/annotations is {annotations:?}"
        );
    }
    Ok(objects)
}

/// The objects that kubemcsa install applies with these arguments.
fn installed(args: &[&str]) -> anyhow::Result<Objects> {
    let args = ["install", "-o", "yaml"].iter().chain(args).copied();
    Objects::parse(&kubemcsa_ok(Path::new("/nonexistent"), args)?)
}

/// The objects that kubectl applies from a folder of this repository.
async fn kustomized(folder: &str) -> anyhow::Result<Objects> {
    Objects::parse(&kubectl("/nonexistent", ["kustomize", &format!("{ROOT}/{folder}")]).await?)
}

fn is_of(object: &Value, binary: &str) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/name"] == binary
}

#[tokio::test]
async fn default_values_render_the_manifests() -> anyhow::Result<()> {
    let chart = rendered_without_keep(&[]).await?;
    chart.ensure_equal(&installed(&[])?)?;
    chart.ensure_equal(&kustomized("manifests").await?)
}

#[tokio::test]
async fn cert_manager_value_renders_the_cert_manager_example() -> anyhow::Result<()> {
    let chart = rendered_without_keep(&["webhook.certificates=cert-manager"]).await?;
    chart.ensure_equal(&kustomized("examples/cert-manager").await?)
}

#[tokio::test]
async fn metrics_values_render_the_monitoring_manifests() -> anyhow::Result<()> {
    const ALL: [&str; 3] = [
        "metrics.podMonitors.enabled=true",
        "metrics.prometheusRule.enabled=true",
        "metrics.dashboard.enabled=true",
    ];
    let monitoring = kustomized("manifests/monitoring").await?;
    let mut expected = installed(&[])?;
    expected.extend(monitoring.clone());
    rendered_without_keep(&ALL).await?.ensure_equal(&expected)?;

    for (value, kind) in ALL.iter().zip(["PodMonitor", "PrometheusRule", "ConfigMap"]) {
        let mut expected = installed(&[])?;
        expected.extend(monitoring.clone().filter(|object| object["kind"] == kind));
        rendered_without_keep(&[value]).await?.ensure_equal(&expected)?;
    }

    // Without a webhook or a launcher, there are no alerts about it.
    for binary in ["webhook", "launcher"] {
        let mut expected = expected_without(binary, &monitoring)?;
        expected.extend(installed(&[])?.filter(|object| !is_of(object, binary)));
        let disabled = format!("{binary}.enabled=false");
        let values: Vec<_> = ALL.into_iter().chain([disabled.as_str()]).collect();
        rendered_without_keep(&values).await?.ensure_equal(&expected)?;
    }

    // metrics.labels adds labels that a Prometheus selects by, and changes nothing else.
    let mut labelled = rendered(&[&ALL[..], &["metrics.labels.release=prometheus"]].concat()).await?;
    for object in [
        "PodMonitor multicluster-service-account/importer",
        "PodMonitor multicluster-service-account/webhook",
        "PodMonitor multicluster-service-account/launcher",
        "PrometheusRule multicluster-service-account/multicluster-service-account",
    ] {
        let labels = labelled.get_mut(object)?["metadata"]["labels"]
            .as_object_mut()
            .context("the object has no labels")?;
        ensure!(
            labels.remove("release") == Some("prometheus".into()),
            "{object} lacks the label release; it has {labels:?}"
        );
    }
    labelled.ensure_equal(&rendered(&ALL).await?)
}

/// The objects of manifests/monitoring, without those of a binary.
fn expected_without(binary: &str, monitoring: &Objects) -> anyhow::Result<Objects> {
    let mut objects = monitoring.clone().filter(|object| !is_of(object, binary));
    let rule = "PrometheusRule multicluster-service-account/multicluster-service-account";
    let groups = objects.get_mut(rule)?["spec"]["groups"].as_array_mut().context("the rule has no groups")?;
    let all = groups.len();
    let suffix = format!("-{binary}");
    groups.retain(|group| !group["name"].as_str().is_some_and(|name| name.ends_with(&suffix)));
    ensure!(groups.len() == all - 1 && !groups.is_empty(), "{all} groups, now {}", groups.len());
    Ok(objects)
}

#[tokio::test]
async fn disabled_webhook_has_no_objects() -> anyhow::Result<()> {
    let expected = installed(&[])?.filter(|object| !is_of(object, "webhook"));
    rendered_without_keep(&["webhook.enabled=false"]).await?.ensure_equal(&expected)?;
    let values = ["webhook.enabled=false", "webhook.certificates=cert-manager"];
    rendered_without_keep(&values).await?.ensure_equal(&expected)
}

#[tokio::test]
async fn disabled_launcher_has_no_objects() -> anyhow::Result<()> {
    let expected = installed(&[])?.filter(|object| !is_of(object, "launcher"));
    rendered_without_keep(&["launcher.enabled=false"]).await?.ensure_equal(&expected)
}

#[tokio::test]
async fn confined_importer_has_roles_in_its_namespaces_only() -> anyhow::Result<()> {
    let expected = installed(&["--namespaces", "a,b"])?;
    rendered_without_keep(&["importer.namespaces={a,b}"]).await?.ensure_equal(&expected)?;
    // The system namespace may be listed, and a namespace may be listed twice.
    let expected = installed(&["--namespaces", &format!("a,{SYSTEM_NAMESPACE}")])?;
    let own = format!("importer.namespaces={{a,{SYSTEM_NAMESPACE},a}}");
    rendered_without_keep(&[&own]).await?.ensure_equal(&expected)
}

#[tokio::test]
async fn release_in_the_system_namespace_does_not_own_it() -> anyhow::Result<()> {
    let args = ["template", "mcsa", CHART, "--namespace", SYSTEM_NAMESPACE];
    let mut objects = rendered(&[]).await?;
    objects.remove(KEPT[0])?;
    Objects::parse(&helm("/nonexistent", args).await?)?.ensure_equal(&objects)
}

#[tokio::test]
async fn crd_can_be_deleted_with_the_release_or_omitted() -> anyhow::Result<()> {
    let mut expected = rendered(&[]).await?;
    for title in &KEPT[1..] {
        let crd =
            expected.get_mut(title)?["metadata"].as_object_mut().context("the object has no metadata")?;
        crd.remove("annotations").context("the CRD has no annotations")?;
    }
    rendered(&["crd.keep=false"]).await?.ensure_equal(&expected)?;
    for title in &KEPT[1..] {
        expected.remove(title)?;
    }
    rendered(&["crd.install=false"]).await?.ensure_equal(&expected)
}

/// A chart can't read files outside of its folder, so it has copies.
#[test]
fn copies_in_the_chart_have_not_drifted() -> anyhow::Result<()> {
    let mut files =
        ["crd.yaml", "policy.yaml", "monitoring/dashboard.json", "monitoring/prometheusrule.yaml"].map(
            |file| {
                let original = Path::new(ROOT).join("manifests").join(file);
                (original.file_name().map(ToOwned::to_owned), original)
            },
        );
    files.sort();
    let folder = Path::new(CHART).join("files");
    let copies = fs::read_dir(&folder)?.map(|file| Ok(Some(file?.file_name())));
    let mut copies = copies.collect::<anyhow::Result<Vec<_>>>()?;
    copies.sort();
    ensure!(copies.iter().eq(files.iter().map(|(name, _)| name)), "manifests/helm/files has {copies:?}");
    for (name, original) in files {
        let copy = folder.join(name.context("the file has no name")?);
        let drifted = fs::read(&copy)? != fs::read(&original)?;
        ensure!(!drifted, "{} has drifted: cp {} {}", copy.display(), original.display(), copy.display());
    }
    Ok(())
}

#[tokio::test]
async fn chart_has_the_workspace_version_and_passes_lint() -> anyhow::Result<()> {
    let chart: Value = serde_saphyr::from_str(&helm("/nonexistent", ["show", "chart", CHART]).await?)?;
    for version in ["version", "appVersion"] {
        ensure!(chart[version] == env!("CARGO_PKG_VERSION"), "{version} is {}", chart[version]);
    }
    ensure!(chart["name"] == SYSTEM_NAMESPACE, "{chart}");
    helm("/nonexistent", ["lint", "--strict", CHART]).await.map(drop)
}
