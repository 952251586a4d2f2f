//! The effect of values, and the values that the schema refuses.

use std::path::Path;

use anyhow::{Context, ensure};
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::helm;
use serde_json::{Value, json};

use super::CHART;
use super::rendered::rendered;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The Deployment of a binary with these values of it.
async fn deployment(binary: &str, values: &[&str]) -> anyhow::Result<Value> {
    let values: Vec<_> = values.iter().map(|value| format!("{binary}.{value}")).collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    rendered(&values).await?.remove(&format!("Deployment {SYSTEM_NAMESPACE}/{binary}"))
}

/// The object with another value at a path.
fn with(mut object: Value, path: &str, value: Value) -> anyhow::Result<Value> {
    let (parent, name) = path.rsplit_once('/').context("the path has no slash")?;
    object.pointer_mut(parent).with_context(|| format!("there is no {parent}"))?[name] = value;
    Ok(object)
}

#[tokio::test]
async fn image_values_compose_the_image_name() -> anyhow::Result<()> {
    for binary in ["importer", "webhook", "launcher"] {
        for (values, image) in [
            (&["image.repository=example.com/x"][..], "example.com/x:0.1.0"),
            (&["image.tag=v7"], &format!("{SYSTEM_NAMESPACE}.invalid/{binary}:v7")),
            (
                &["image.tag=v7", &format!("image.digest={DIGEST}")],
                &format!("{SYSTEM_NAMESPACE}.invalid/{binary}@{DIGEST}"),
            ),
        ] {
            let found = deployment(binary, values).await?;
            let found = &found["spec"]["template"]["spec"]["containers"][0]["image"];
            ensure!(found == image, "{binary} with {values:?}: {found}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_value_changes_one_field() -> anyhow::Result<()> {
    const POD: &str = "/spec/template/spec";
    let pod = |field: &str| format!("{POD}/{field}");
    let container = |field: &str| format!("{POD}/containers/0/{field}");
    let toleration = json!([{ "key": "k", "operator": "Exists" }]);
    for binary in ["importer", "webhook", "launcher"] {
        let by_default = deployment(binary, &[]).await?;
        let mut env = by_default.pointer(&container("env")).cloned().unwrap_or_else(|| json!([]));
        let added = json!({ "name": "RUST_LOG", "value": "debug" });
        env.as_array_mut().context("env is not a list")?.push(added);
        let mut resources = by_default.pointer(&container("resources")).cloned().unwrap_or_default();
        resources["limits"]["memory"] = "1Gi".into();
        for (values, path, value) in [
            (&["replicas=5"][..], "/spec/replicas".to_owned(), json!(5)),
            (&["image.pullPolicy=Always"], container("imagePullPolicy"), json!("Always")),
            (&["image.pullSecrets[0].name=s"], pod("imagePullSecrets"), json!([{ "name": "s" }])),
            (&["resources.limits.memory=1Gi"], container("resources"), resources),
            (&["nodeSelector.disk=ssd"], pod("nodeSelector"), json!({ "disk": "ssd" })),
            (
                &["tolerations[0].key=k", "tolerations[0].operator=Exists"],
                pod("tolerations"),
                toleration.clone(),
            ),
            (&["affinity.any=thing"], pod("affinity"), json!({ "any": "thing" })),
            (&["priorityClassName=high"], pod("priorityClassName"), json!("high")),
            (&["extraEnv[0].name=RUST_LOG", "extraEnv[0].value=debug"], container("env"), env),
        ] {
            let found = deployment(binary, values).await?;
            let expected = with(by_default.clone(), &path, value)?;
            ensure!(found == expected, "{binary} with {values:?} is {found:#}\nbut should be {expected:#}");
        }
    }
    Ok(())
}

/// Programs refuse a flag that is given twice.
#[tokio::test]
async fn extra_argument_replaces_the_default() -> anyhow::Result<()> {
    let values = ["extraArgs={--lease-duration=30,--log-format=text}"];
    let importer = deployment("importer", &values).await?;
    let args = &importer["spec"]["template"]["spec"]["containers"][0]["args"];
    ensure!(
        *args == json!(["--probe-address=[::]:8080", "--lease-duration=30", "--log-format=text"]),
        "{args}"
    );
    Ok(())
}

#[tokio::test]
async fn only_system_priority_classes_need_a_quota() -> anyhow::Result<()> {
    for (program, quota) in [("webhook", "critical-pods"), ("launcher", "critical-launcher-pods")] {
        let quota = format!("ResourceQuota {SYSTEM_NAMESPACE}/{quota}");
        let class = format!("{program}.priorityClassName");
        let mut critical = rendered(&[&format!("{class}=system-node-critical")]).await?;
        let scope = &critical.get_mut(&quota)?["spec"]["scopeSelector"]["matchExpressions"][0]["values"];
        ensure!(*scope == json!(["system-node-critical"]), "{scope}");
        ensure!(
            rendered(&[&format!("{class}=high")]).await?.remove(&quota).is_err(),
            "the chart has a quota"
        );
    }
    Ok(())
}

#[tokio::test]
async fn misspelt_and_mistyped_values_are_refused_by_name() -> anyhow::Result<()> {
    for (value, expected) in [
        ("webhok.enabled=false", "'webhok' not allowed"),
        ("importer.replica=3", "at '/importer': additional properties 'replica' not allowed"),
        ("importer.image.tagg=v1", "at '/importer/image': additional properties 'tagg' not allowed"),
        (
            "importer.resources.limit.memory=1Gi",
            "at '/importer/resources': additional properties 'limit' not allowed",
        ),
        ("importer.replicas=three", "at '/importer/replicas': got string, want integer"),
        ("importer.image.tag=1", "at '/importer/image/tag': got number, want string"),
        ("importer.image.digest=e3b0", "at '/importer/image/digest': 'e3b0' does not match"),
        ("importer.namespaces=a", "at '/importer/namespaces': got string, want array"),
        ("importer.namespaces={A}", "at '/importer/namespaces/0': 'A' does not match"),
        ("webhook.enabled=yes", "at '/webhook/enabled': got string, want boolean"),
        (
            "webhook.certificates=certmanager",
            "at '/webhook/certificates': value must be one of 'own', 'cert-manager'",
        ),
        ("metrics.podMonitors=true", "at '/metrics/podMonitors': got boolean, want object"),
        ("crd.kept=false", "at '/crd': additional properties 'kept' not allowed"),
    ] {
        let error = rendered(&[value]).await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(error.contains(expected), "the error for {value} is {error:?}");
    }
    // Helm passes global values to each subchart.
    rendered(&["global.anything=1"]).await.map(drop)
}

/// values.yaml documents each value of the schema.
#[tokio::test]
async fn values_list_each_property_of_the_schema() -> anyhow::Result<()> {
    let values: Value = serde_saphyr::from_str(&helm("/nonexistent", ["show", "values", CHART]).await?)?;
    let schema: Value = serde_json::from_slice(&std::fs::read(Path::new(CHART).join("values.schema.json"))?)?;
    let mut missing = Vec::new();
    find_missing(&mut missing, "", &values, &schema, &schema);
    ensure!(missing.is_empty(), "{}", missing.join("\n"));
    Ok(())
}

/// Finds properties of the schema that the values lack.
fn find_missing(missing: &mut Vec<String>, at: &str, values: &Value, schema: &Value, root: &Value) {
    let referred = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
    let Some(properties) = referred.unwrap_or(schema)["properties"].as_object() else { return };
    // Kubernetes defines these.
    if at.ends_with("/resources") {
        return;
    }
    for (name, schema) in properties {
        let at = format!("{at}/{name}");
        match values.get(name) {
            Some(values) => find_missing(missing, &at, values, schema, root),
            None if at == "/global" => {}
            None => missing.push(format!("{at} is in values.schema.json, but not in values.yaml")),
        }
    }
}
