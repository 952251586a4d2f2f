//! What the cluster is called in which the workflows are.

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;

use super::error::{ArgoError, Place, Problem};

/// Name of the config map of the workflow controller.
pub const CONTROLLER_CONFIG_MAP: &str = "workflow-controller-configmap";

/// The key that has the name, of the map or of the YAML in [`CONFIG`].
const CLUSTER: &str = "cluster";

/// The key that has the controller's whole configuration in config maps of the older form.
/// <https://github.com/argoproj/argo-workflows/blob/main/docs/workflow-controller-configmap.md>
const CONFIG: &str = "config";

/// What is read of the controller's configuration.
#[derive(Deserialize)]
struct Controller {
    cluster: Option<String>,
}

/// The name of the local cluster, if [`CONTROLLER_CONFIG_MAP`] has one, in either of its forms.
///
/// # Errors
/// When it is no text, or each form has another one.
pub fn local_cluster(config_map: &ConfigMap) -> Result<Option<String>, ArgoError> {
    let value = |key: &str| config_map.data.as_ref().and_then(|data| data.get(key));
    let error = |key: &str, problem| Place::of(config_map, Some(key)).error(problem);
    let not_yaml = |key: &str| error(key, Problem::NotYaml);
    let name = |name: Option<String>| name.filter(|name| !name.is_empty());

    // The controller reads each value of the map as YAML, too. What its own default name begins with, YAML
    // does not allow.
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
    fn names(#[case] values: &[(&str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(local_cluster(&config_map(values)).unwrap().as_deref(), expected);
    }

    #[rstest]
    #[case(&[("cluster", "[t0ken]")], "key cluster: it is not YAML")]
    #[case(&[("config", "cluster: {a: t0ken}")], "key config: it is not YAML")]
    #[case(&[("config", "t0ken: [")], "key config: it is not YAML")]
    #[case(&[("config", "cluster: main"), ("cluster", "t0ken")], "key cluster: it names another")]
    fn no_names(#[case] values: &[(&str, &str)], #[case] said: &str) {
        let error = local_cluster(&config_map(values)).unwrap_err().to_string();
        assert!(error.starts_with("ConfigMap argo/workflow-controller-configmap, "), "{error}");
        assert!(error.contains(said) && !error.contains("t0ken"), "{error}");
    }
}
