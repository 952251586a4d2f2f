//! Warns of mounts around those of imports that may keep a container from starting.

use mcsa_client::contract::MOUNT_ROOT;

use super::{Import, RequestedImports, components};
use crate::message::quote;
use crate::pod::{Container, Pod, Spec, VolumeMount};

/// Maximum number of warnings: a pod may have thousands of mounts.
const MAX_WARNINGS: usize = 10;

/// Warnings about a new pod. API servers may cut them after 256 characters, so the names come first.
pub(crate) fn warnings(pod: &Pod, requested: &RequestedImports) -> Vec<String> {
    let Some(spec) = pod.spec.as_ref().filter(|_| !requested.imports.is_empty()) else { return Vec::new() };
    let containers = spec.containers();
    let warnings = containers.flat_map(|(_, _, container)| of_container(spec, container, &requested.imports));
    warnings.take(MAX_WARNINGS).collect()
}

fn of_container(spec: &Spec, container: &Container, imports: &[Import]) -> Vec<String> {
    let root = resolve(MOUNT_ROOT);
    let mut warnings = Vec::new();
    let mut innermost: Option<(usize, &VolumeMount)> = None;
    for mount in container.volume_mounts.iter().flatten().map(|mount| &mount.0) {
        let path = resolve(&mount.mount_path);
        if root.starts_with(&path) {
            // Only the innermost of these mounts has the folders of imports.
            if innermost.is_none_or(|(depth, _)| depth <= path.len()) {
                innermost = Some((path.len(), mount));
            }
        } else if let Some([name, below @ ..]) = path.strip_prefix(&*root)
            && let Some(import) = imports.iter().find(|import| import.name == *name)
        {
            warnings.extend(if below.is_empty() {
                at_alias(spec, container, mount, import)
            } else {
                Some(inside(container, mount, import))
            });
        }
    }
    let above = innermost.map(|(_, mount)| mount).filter(|mount| is_read_only(spec, mount));
    warnings.extend(above.map(|mount| read_only_above(container, mount)));
    warnings
}

/// The components of a path in an image in which `/var/run` links to `/run`.
fn resolve(path: &str) -> Vec<&str> {
    let mut components = components(path);
    if components.first() == Some(&"run") {
        components.insert(0, "var");
    }
    components
}

fn is_read_only(spec: &Spec, mount: &VolumeMount) -> bool {
    mount.is_read_only() || spec.volume(&mount.name).is_some_and(|volume| volume.is_read_only())
}

/// What the warnings start with.
fn mounts(container: &Container, mount: &VolumeMount) -> String {
    let [container, volume, path] = [&container.name, &mount.name, &mount.mount_path].map(|name| quote(name));
    format!("container {container} mounts volume {volume} at {path}")
}

/// If the volume has the folder, the container starts, but the webhook does not know.
fn read_only_above(container: &Container, mount: &VolumeMount) -> String {
    format!(
        "{}, read-only: the container may not start, because its runtime can't create {MOUNT_ROOT} in it; mount the \
         volume elsewhere, or its files with subPath",
        mounts(container, mount)
    )
}

/// The runtime can't create a folder in the import's Secret.
fn inside(container: &Container, mount: &VolumeMount, import: &Import) -> String {
    format!(
        "{}, inside the read-only mount of ServiceAccountImport {}: the container may not start; mount the volume \
         elsewhere",
        mounts(container, mount),
        import.name
    )
}

/// Another volume at the import's mount path as it is below `/run`. The path itself is a conflict, or the import's.
fn at_alias(spec: &Spec, container: &Container, mount: &VolumeMount, import: &Import) -> Option<String> {
    let is_alias = components(&mount.mount_path).first() == Some(&"run");
    let is_same_secret =
        mount.is_whole() && spec.volume(&mount.name).is_some_and(|volume| volume.is_secret(&import.secret));
    (is_alias && !is_same_secret).then(|| {
        format!(
            "{}, which is the mount path of ServiceAccountImport {} in images whose /var/run links to /run: one would \
             hide the other; mount the volume elsewhere",
            mounts(container, mount),
            import.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde::Deserialize;
    use serde_json::{Value, json};

    /// The warnings about a container with these mounts: volume, path and whether it is read-only.
    fn warnings_of(mounts: &[(&str, &str, bool)]) -> Vec<String> {
        let mount = |(volume, path, read_only): &(&str, &str, bool)| json!({ "name": volume, "mountPath": path, "readOnly": read_only });
        let mounts: Vec<_> = mounts.iter().map(mount).collect();
        let items = json!([{ "path": "l", "fieldRef": { "fieldPath": "metadata.labels" } }]);
        let token = json!({ "serviceAccountToken": { "path": "t" } });
        let pod = json!({ "spec": {
            "volumes": [
                { "name": "secret", "secret": { "secretName": "s" } },
                { "name": "config", "configMap": { "name": "c" } },
                { "name": "token", "projected": { "sources": [token] } },
                { "name": "labels", "downwardAPI": { "items": items } },
                { "name": "image", "image": { "reference": "i" } },
                { "name": "claim", "persistentVolumeClaim": { "claimName": "c" } },
                { "name": "read-claim", "persistentVolumeClaim": { "claimName": "c", "readOnly": true } },
                { "name": "empty", "emptyDir": {} },
                { "name": "same", "secret": { "secretName": "a-token" } },
            ],
            "initContainers": [{ "name": "init" }],
            "containers": [{ "name": "main", "volumeMounts": mounts }],
        } });
        of_pod(&pod)
    }

    fn of_pod(pod: &Value) -> Vec<String> {
        let import =
            |name: &str| Import { name: name.to_owned(), secret: format!("{name}-token"), kubeconfig: None };
        let imports = vec![import("b"), import("a")];
        let pod = Pod::deserialize(pod).unwrap();
        warnings(&pod, &RequestedImports { imports, kubeconfig_env: false })
    }

    #[rstest]
    #[case("secret", "/var/run/secrets", false)]
    #[case("config", "/run/secrets", false)]
    #[case("token", "/var/run/secrets/admiralty.io", false)]
    #[case("labels", "/run//secrets/../secrets/admiralty.io/serviceaccountimports/", false)]
    #[case("image", "/var/run", false)]
    #[case("read-claim", "/run", false)]
    #[case("claim", "/var", true)]
    #[case("empty", "var/run/secrets", true)]
    fn read_only_mount_above_imports_has_a_warning(
        #[case] volume: &str,
        #[case] path: &str,
        #[case] read_only: bool,
    ) {
        let warnings = warnings_of(&[(volume, path, read_only), ("secret", "/data", true)]);
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        let start = format!("container \"main\" mounts volume {volume:?} at {path:?}, read-only: ");
        assert!(warning.starts_with(&start) && warning.ends_with("or its files with subPath"), "{warning}");
    }

    #[rstest]
    #[case::writable(&[("empty", "/var/run/secrets", false), ("claim", "/run", false)])]
    #[case::beside(&[("secret", "/var/run/secrets/other", false), ("secret", "/runs", true)])]
    #[case::service_account(&[("token", "/var/run/secrets/kubernetes.io/serviceaccount", true)])]
    #[case::writable_mount_inside(&[("secret", "/run", false), ("empty", "/var/run/secrets", false)])]
    #[case::other_order(&[("empty", "/var/run/secrets", false), ("secret", "/run", false)])]
    #[case::other_import(&[("secret", "/run/secrets/admiralty.io/serviceaccountimports/c", true)])]
    #[case::own_mount(&[("same", "/var/run/secrets/admiralty.io/serviceaccountimports/a", true)])]
    #[case::same_secret_at_the_alias(&[("same", "/run/secrets/admiralty.io/serviceaccountimports/a", true)])]
    fn harmless_mount_has_no_warning(#[case] mounts: &[(&str, &str, bool)]) {
        assert_eq!(warnings_of(mounts), Vec::<String>::new());
    }

    #[rstest]
    #[case("/run/secrets/admiralty.io/serviceaccountimports/a", "in images whose /var/run links to /run")]
    #[case(
        "/run/secrets/admiralty.io/serviceaccountimports/a/b/..",
        "in images whose /var/run links to /run"
    )]
    #[case("/var/run/secrets/admiralty.io/serviceaccountimports/a/b", "inside the read-only mount")]
    #[case("/run/secrets/admiralty.io/serviceaccountimports/a/b", "inside the read-only mount")]
    fn mount_at_the_alias_or_inside_has_a_warning(#[case] path: &str, #[case] expected: &str) {
        let warnings = warnings_of(&[("empty", path, false)]);
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        let start = format!("container \"main\" mounts volume \"empty\" at {path:?}, ");
        assert!(warning.starts_with(&start) && warning.contains(expected), "{warning}");
        assert!(warning.contains("ServiceAccountImport a"), "{warning}");
    }

    #[test]
    fn warnings_are_few_and_short() {
        let long = "x\n".repeat(10_000);
        let mount =
            json!({ "name": long, "mountPath": format!("{}run", "/".repeat(10_000)), "readOnly": true });
        let container = json!({ "name": long, "volumeMounts": [mount] });
        let warnings = of_pod(&json!({ "spec": { "containers": vec![container; 100] } }));
        assert_eq!(warnings.len(), MAX_WARNINGS);
        assert!(warnings.iter().all(|warning| warning.len() < 1_000 && !warning.contains('\n')));
    }
}
