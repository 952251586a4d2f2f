//! A pod, as far as imports concern it: a view that borrows from the review's text, and skips the
//! rest of it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::json::{Object, Text};

/// A list of objects; absent where it is `null`.
type List<T> = Option<Vec<Object<T>>>;

/// A pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod<'a> {
    /// What it is called.
    #[serde(borrow)]
    pub(crate) metadata: Option<Object<Metadata<'a>>>,
    /// What it consists of.
    #[serde(borrow)]
    pub(crate) spec: Option<Object<Spec<'a>>>,
}

/// What a pod is called, and what it says to us.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    /// Empty where the API server makes the name.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    /// The beginning of the name that the API server makes.
    #[serde(borrow)]
    pub(crate) generate_name: Text<'a>,
    /// Those that matter here.
    #[serde(borrow)]
    pub(crate) annotations: Option<Object<Annotations<'a>>>,
}

/// The annotations that matter here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Annotations<'a> {
    /// [`mcsa_client::contract::IMPORT_NAME`].
    #[serde(borrow, rename = "multicluster.admiralty.io/service-account-import.name")]
    pub(crate) imports: Option<Text<'a>>,
    /// [`mcsa_client::contract::KUBECONFIG_ENV`].
    #[serde(borrow, rename = "multicluster.admiralty.io/kubeconfig-env")]
    pub(crate) kubeconfig_env: Option<Text<'a>>,
    /// Of a pod that the kubelet runs by itself: what the API server shows is only its mirror, and
    /// may not refer to any Secret.
    #[serde(borrow, rename = "kubernetes.io/config.mirror")]
    pub(crate) mirror: Option<Text<'a>>,
}

/// What a pod consists of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    /// What containers may mount.
    #[serde(borrow)]
    pub(crate) volumes: List<Volume<'a>>,
    /// Sidecars are among them.
    #[serde(borrow)]
    pub(crate) init_containers: List<Container<'a>>,
    /// The containers proper.
    #[serde(borrow)]
    pub(crate) containers: List<Container<'a>>,
    /// Those of `kubectl debug`.
    #[serde(borrow)]
    pub(crate) ephemeral_containers: List<Container<'a>>,
}

/// A volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Volume<'a> {
    /// By which containers mount it.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    /// The Secret, if it is one.
    #[serde(borrow)]
    pub(crate) secret: Option<Object<SecretSource<'a>>>,
}

/// A Secret as a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SecretSource<'a> {
    /// Which Secret.
    #[serde(borrow)]
    pub(crate) secret_name: Text<'a>,
    /// What of it; all where there are none.
    pub(crate) items: Option<Vec<IgnoredAny>>,
}

/// What containers of all kinds have in common.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container<'a> {
    /// Its name.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    /// Where it has volumes.
    #[serde(borrow)]
    pub(crate) volume_mounts: List<VolumeMount<'a>>,
    /// Its environment, as far as it is said variable by variable.
    #[serde(borrow)]
    pub(crate) env: List<Env<'a>>,
}

/// Where a container has a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct VolumeMount<'a> {
    /// The volume.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    /// Where.
    #[serde(borrow)]
    pub(crate) mount_path: Text<'a>,
    /// What of it; all where this is empty.
    #[serde(borrow)]
    pub(crate) sub_path: Text<'a>,
    /// As `sub_path`, with variables.
    #[serde(borrow)]
    pub(crate) sub_path_expr: Text<'a>,
}

/// An environment variable.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Env<'a> {
    /// Its name.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
}

impl<'a> Pod<'a> {
    /// What the user knows it by; a controller leaves the end of the name to the API server.
    pub(crate) fn name(&self) -> &str {
        let names = self.metadata.iter().flat_map(|metadata| [&metadata.name, &metadata.generate_name]);
        names.map(|name| &**name).find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// The imports that it names, as it says them. A mirror names none.
    pub(crate) fn imports(&self) -> Option<&str> {
        self.annotations().filter(|annotations| annotations.mirror.is_none())?.imports.as_deref()
    }

    /// Whether it wants `KUBECONFIG` to be set, as it says that.
    pub(crate) fn kubeconfig_env(&self) -> Option<&str> {
        self.annotations()?.kubeconfig_env.as_deref()
    }

    fn annotations(&self) -> Option<&Annotations<'a>> {
        Some(self.metadata.as_ref()?.annotations.as_ref()?)
    }

    /// Its ephemeral containers.
    pub(crate) fn ephemeral_containers(&self) -> impl Iterator<Item = &Container<'a>> {
        let containers = self.spec.iter().flat_map(|spec| &spec.ephemeral_containers);
        containers.flatten().map(|container| &container.0)
    }
}

impl<'a> Spec<'a> {
    /// The volume of this name.
    pub(crate) fn volume(&self, name: &str) -> Option<&Volume<'a>> {
        self.volumes.iter().flatten().map(|volume| &volume.0).find(|volume| &*volume.name == name)
    }

    /// Every container, with the field and the index where it stands.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (&'static str, usize, &Container<'a>)> {
        let kinds = [
            ("initContainers", &self.init_containers),
            ("containers", &self.containers),
            ("ephemeralContainers", &self.ephemeral_containers),
        ];
        kinds.into_iter().flat_map(|(field, list)| {
            list.iter().flatten().enumerate().map(move |(index, container)| (field, index, &container.0))
        })
    }
}

impl Volume<'_> {
    /// Whether it is this Secret, and all of it. How its files look (`defaultMode`), and whether the
    /// pod waits for it (`optional`), is up to whoever made the volume.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secret.as_ref().is_some_and(|secret| {
            &*secret.secret_name == name && secret.items.as_ref().is_none_or(Vec::is_empty)
        })
    }
}

impl VolumeMount<'_> {
    /// Whether it is all of the volume.
    pub(crate) fn is_whole(&self) -> bool {
        self.sub_path.is_empty() && self.sub_path_expr.is_empty()
    }
}

impl Container<'_> {
    /// Whether it says what this variable is, in whatever way.
    pub(crate) fn sets(&self, variable: &str) -> bool {
        self.env.iter().flatten().any(|env| &*env.name == variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::{IMPORT_NAME, KUBECONFIG_ENV};
    use rstest::rstest;
    use serde_json::{Value, json};

    #[test]
    fn annotations_have_the_names_of_the_contract() {
        let pod = json!({ "metadata": { "annotations": { IMPORT_NAME: "a", KUBECONFIG_ENV: "true", "other": "b" } } });
        let pod = Pod::deserialize(&pod).unwrap();
        assert_eq!((pod.imports(), pod.kubeconfig_env()), (Some("a"), Some("true")));
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({ "metadata": null }), "")]
    #[case(json!({ "metadata": { "generateName": "p-" } }), "p-")]
    #[case(json!({ "metadata": { "name": "", "generateName": "p-" } }), "p-")]
    #[case(json!({ "metadata": { "name": null, "generateName": null, "annotations": null } }), "")]
    #[case(json!({ "metadata": { "name": "p", "generateName": "q-" } }), "p")]
    fn names(#[case] pod: Value, #[case] name: &str) {
        let pod = Pod::deserialize(&pod).unwrap();
        assert_eq!((pod.name(), pod.imports()), (name, None));
    }
}
