//! The name of the workflows' own cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;

use super::error::{ArgoError, Place, Problem};

/// The name of the workflow controller's ConfigMap.
pub const CONTROLLER_CONFIG_MAP: &str = "workflow-controller-configmap";

/// The key of the name, in the ConfigMap or in the YAML under [`CONFIG`].
const CLUSTER: &str = "cluster";

/// The key of the whole configuration, in ConfigMaps of the older form.
/// <https://github.com/argoproj/argo-workflows/blob/main/docs/workflow-controller-configmap.md>
const CONFIG: &str = "config";

#[derive(Deserialize)]
struct Controller {
    cluster: Option<String>,
}

/// The name of the local cluster in a [`CONTROLLER_CONFIG_MAP`] of either form. `None`: it has no name.
///
/// # Errors
/// If the name is not a string, or the two forms have different names.
pub fn local_cluster(config_map: &ConfigMap) -> Result<Option<String>, ArgoError> {
    let value = |key: &str| config_map.data.as_ref().and_then(|data| data.get(key));
    let error = |key: &str, problem| Place::of(config_map, Some(key)).error(problem);
    let not_yaml = |key: &str| error(key, Problem::NotYaml);
    let name = |name: Option<String>| name.filter(|name| !name.is_empty());

    // The controller also parses each value as YAML. Its default name starts with `@`, which YAML does not allow.
    let direct = match value(CLUSTER).map(|text| text.trim()) {
        Some(text) if text.starts_with('@') => Some(text.to_owned()),
        Some(text) => serde_saphyr::from_str::<Option<String>>(text).map_err(|_| not_yaml(CLUSTER))?,
        None => None,
    };
    let whole = match value(CONFIG) {
        Some(text) => serde_saphyr::from_str::<Option<Controller>>(text).map_err(|_| not_yaml(CONFIG))?,
        None => None,
    };
    match (name(direct), name(whole.and_then(|controller| controller.cluster))) {
        (Some(direct), Some(whole)) if direct != whole => Err(error(CLUSTER, Problem::TwoNames)),
        (direct, whole) => Ok(direct.or(whole)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn config_map(values: &[(&str, &str)]) -> ConfigMap {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut config_map = ConfigMap { data: Some(values.collect()), ..Default::default() };
        config_map.metadata.name = Some(CONTROLLER_CONFIG_MAP.into());
        config_map.metadata.namespace = Some("argo".into());
        config_map
    }

    #[rstest]
    #[case(&[], None)]
    #[case(&[("parallelism", "10")], None)]
    #[case(&[("cluster", "cluster-0")], Some("cluster-0"))]
    #[case(&[("cluster", "\"cluster-0\"\n")], Some("cluster-0"))]
    #[case(&[("cluster", "0")], Some("0"))]
    #[case(&[("cluster", "@in-cluster")], Some("@in-cluster"))]
    #[case(&[("cluster", "")], None)]
    #[case(&[("config", "")], None)]
    #[case(&[("config", "parallelism: 10\n")], None)]
    #[case(&[("config", "cluster: cluster-0\nparallelism: 10\n")], Some("cluster-0"))]
    #[case(&[("config", "cluster: main"), ("cluster", "main")], Some("main"))]
    fn a_name_of_either_form_is_read(#[case] values: &[(&str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(local_cluster(&config_map(values)).unwrap().as_deref(), expected);
    }

    #[rstest]
    #[case(&[("cluster", "[t0ken]")], "key cluster: not YAML")]
    #[case(&[("config", "cluster: {a: t0ken}")], "key config: not YAML")]
    #[case(&[("config", "t0ken: [")], "key config: not YAML")]
    #[case(&[("config", "cluster: main"), ("cluster", "t0ken")], "key cluster: the key config has another name")]
    fn an_invalid_name_is_an_error_without_its_value(
        #[case] values: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let error = local_cluster(&config_map(values)).unwrap_err().to_string();
        assert!(error.starts_with("ConfigMap argo/workflow-controller-configmap, "), "{error}");
        assert!(error.contains(expected) && !error.contains("t0ken"), "{error}");
    }
}
