//! Renders manifests/monitoring as `kubectl kustomize` would, into one file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

/// The fields that manifests/monitoring/kustomization.yaml has. Others are refused, not ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    namespace: String,
    resources: Vec<String>,
    config_map_generator: Vec<Generator>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    name: String,
    files: Vec<String>,
    options: Options,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    #[serde(rename = "disableNameSuffixHash")]
    _disable_name_suffix_hash: bool,
    labels: BTreeMap<String, String>,
}

/// The resources, unchanged, and the generated ConfigMaps.
pub(crate) fn render(folder: &Path) -> anyhow::Result<String> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let name = "kustomization.yaml";
    let kustomization: Kustomization = serde_saphyr::from_str(&read(name)?)
        .with_context(|| format!("reading {}", folder.join(name).display()))?;
    let mut text = String::new();
    for resource in &kustomization.resources {
        write!(text, "---\n# manifests/monitoring/{resource}\n{}\n", read(resource)?.trim_end())?;
    }
    for generator in kustomization.config_map_generator {
        let data = generator.files.iter().map(|file| Ok((file, read(file)?)));
        let config_map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": generator.name,
                "namespace": kustomization.namespace,
                "labels": generator.options.labels,
            },
            "data": data.collect::<anyhow::Result<BTreeMap<_, _>>>()?,
        });
        let config_map = serde_saphyr::to_string(&config_map).context("can't write YAML")?;
        write!(text, "---\n# manifests/monitoring/{}\n{config_map}", generator.files.join(", "))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::root;
    use serde_json::Value;

    #[test]
    fn all_objects_are_in_the_system_namespace() {
        let folder = root().join("manifests/monitoring");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&render(&folder).unwrap()).unwrap();
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["PodMonitor", "PodMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"]);
        assert!(
            objects.iter().all(|object| object["metadata"]["namespace"] == "multicluster-service-account")
        );
        let dashboard = fs::read_to_string(folder.join("dashboard.json")).unwrap();
        assert_eq!(objects[4]["data"]["dashboard.json"], dashboard);
        assert_eq!(objects[4]["metadata"]["labels"]["grafana_dashboard"], "1");
    }
}
