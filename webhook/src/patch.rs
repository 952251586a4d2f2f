//! Computes the JSON patch of a pod: a pure function of the pod and its imports.

mod stored;
mod warnings;

use std::borrow::Cow;
use std::collections::HashSet;

use json_patch::Patch;
use mcsa_client::contract::MOUNT_ROOT;
use mcsa_credentials::names::dns_label;
use serde_json::{Value, json};

pub(crate) use self::stored::stored_imports;
pub(crate) use self::warnings::warnings;
use crate::message::quote;
use crate::patch_builder::PatchBuilder;
use crate::pod::{Container, Pod, Spec};

/// The variable with the paths of kubeconfigs, which kubectl and client libraries read.
const KUBECONFIG: &str = "KUBECONFIG";

/// An import that a pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The ServiceAccountImport.
    pub name: String,
    /// Its Secret, which may not exist yet.
    pub secret: String,
    /// Key of the Secret whose value is a kubeconfig.
    pub kubeconfig: Option<Cow<'static, str>>,
}

/// Maximum number of mounts that imports add to a pod. More don't fit into an object, which has 1.5 MiB.
const MAX_MOUNTS: usize = 10_000;

/// What the annotations of a pod request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedImports {
    /// The imports, in the order of the annotation.
    pub imports: Vec<Import>,
    /// Whether to set `KUBECONFIG` to their kubeconfigs.
    pub kubeconfig_env: bool,
}

/// An import can't be mounted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The pod has too many containers.
    #[error(
        "{imports} ServiceAccountImports in {containers} containers are more than {MAX_MOUNTS} mounts: name fewer in the \
         pod's annotation"
    )]
    TooManyMounts {
        /// Number of imports.
        imports: usize,
        /// Number of containers.
        containers: usize,
    },
    /// A container mounts something else at the path of the import.
    #[error(
        "container {} mounts {}volume {} at {}, the mount path of ServiceAccountImport {import}: mount it elsewhere, or \
         remove {import} from the pod's annotation",
        quote(container),
        if *sub_path { "a subPath of " } else { "" },
        quote(volume),
        quote(path)
    )]
    MountPath {
        /// Name of the container.
        container: String,
        /// The path, as written in the pod.
        path: String,
        /// Name of the mounted volume.
        volume: String,
        /// Whether the mount has a subPath.
        sub_path: bool,
        /// The import.
        import: String,
    },
    /// Another volume has the name of the import's volume.
    #[error(
        "volume {volume:?} is not the whole Secret {secret}, but ServiceAccountImport {import} reserves this name: rename \
         the volume, or remove {import} from the pod's annotation"
    )]
    Volume {
        /// Name of the volume.
        volume: String,
        /// The import's Secret.
        secret: String,
        /// The import.
        import: String,
    },
}

/// Computes the patch of a new pod. It adds a volume for each import, a mount of each in every container and, if
/// requested, the variable `KUBECONFIG` in every container. It skips what the pod already has, and never changes it.
///
/// # Errors
/// If the pod uses a volume name or a mount path of an import for something else, or needs too many mounts.
pub fn patch(pod: &Pod, requested: &RequestedImports) -> Result<Patch, Conflict> {
    let mut builder = PatchBuilder::default();
    let Some(spec) = &pod.spec else { return Ok(builder.build()) };
    let (imports, containers) = (requested.imports.len(), spec.containers().count());
    if imports * containers > MAX_MOUNTS {
        return Err(Conflict::TooManyMounts { imports, containers });
    }
    let import_mounts: Vec<_> = requested.imports.iter().map(ImportMount::of).collect();
    let mut volumes = Vec::new();
    for import_mount in &import_mounts {
        if import_mount.needs_volume(spec)? {
            volumes.push(import_mount.volume());
        }
    }
    builder.append(&["spec", "volumes"], spec.volumes.is_some(), volumes);
    for (field, index, container) in spec.containers() {
        let mut mounts = Vec::new();
        for import_mount in &import_mounts {
            if import_mount.needs_mount(spec, container)? {
                mounts.push(import_mount.mount());
            }
        }
        add_to(&mut builder, (field, index, container), mounts, kubeconfigs(spec, &import_mounts, requested));
    }
    Ok(builder.build())
}

/// Adds mounts and variables to new ephemeral containers. A running pod can't get new volumes, and debugging must
/// never be denied: skips imports whose volume the pod does not have, and imports with a conflict.
pub(crate) fn patch_ephemeral_containers(pod: &Pod, stored: &Pod, requested: &RequestedImports) -> Patch {
    let mut builder = PatchBuilder::default();
    let Some(spec) = &stored.spec else { return builder.build() };
    let mut import_mounts: Vec<_> = requested.imports.iter().map(ImportMount::of).collect();
    import_mounts.retain(|import_mount| import_mount.needs_volume(spec) == Ok(false));
    let old: HashSet<&str> = stored.ephemeral_containers().map(|container| &*container.name).collect();
    let containers = pod.ephemeral_containers().enumerate();
    let new = containers.filter(|(_, container)| !old.contains(&*container.name));
    for (index, container) in new.take(MAX_MOUNTS / import_mounts.len().max(1)) {
        let (mut mountable, mut mounts) = (Vec::new(), Vec::new());
        for import_mount in &import_mounts {
            let Ok(needed) = import_mount.needs_mount(spec, container) else { continue };
            mountable.push(import_mount);
            mounts.extend(needed.then(|| import_mount.mount()));
        }
        let kubeconfigs = kubeconfigs(spec, mountable, requested);
        add_to(&mut builder, ("ephemeralContainers", index, container), mounts, kubeconfigs);
    }
    builder.build()
}

fn volume_name(import: &str) -> String {
    dns_label("sai-", import)
}

fn mount_path(import: &str) -> String {
    format!("{MOUNT_ROOT}/{import}")
}

/// The volume and the mount path of an import.
struct ImportMount<'a> {
    import: &'a Import,
    volume: String,
    path: String,
}

impl<'a> ImportMount<'a> {
    fn of(import: &'a Import) -> Self {
        Self { import, volume: volume_name(&import.name), path: mount_path(&import.name) }
    }

    fn volume(&self) -> Value {
        json!({ "name": self.volume, "secret": { "secretName": self.import.secret } })
    }

    fn mount(&self) -> Value {
        json!({ "name": self.volume, "mountPath": self.path, "readOnly": true })
    }

    fn needs_volume(&self, spec: &Spec) -> Result<bool, Conflict> {
        match spec.volume(&self.volume) {
            None => Ok(true),
            Some(volume) if volume.is_secret(&self.import.secret) => Ok(false),
            Some(_) => Err(Conflict::Volume {
                volume: self.volume.clone(),
                secret: self.import.secret.clone(),
                import: self.import.name.clone(),
            }),
        }
    }

    /// Another volume at the path is accepted if it is the same Secret. Mounts at parent and child paths are no
    /// conflict: runtimes mount the outer one first, and create directories for the inner one if it is writable. If it is
    /// not, there is a warning.
    fn needs_mount(&self, spec: &Spec, container: &Container) -> Result<bool, Conflict> {
        let mut mounts = container.volume_mounts.iter().flatten();
        let Some(mount) = mounts.find(|mount| self.is_at(&mount.mount_path)) else { return Ok(true) };
        let volume = &*mount.name;
        let same_secret = || spec.volume(volume).is_some_and(|volume| volume.is_secret(&self.import.secret));
        if mount.is_whole() && (volume == self.volume || same_secret()) {
            return Ok(false);
        }
        Err(Conflict::MountPath {
            container: container.name.to_string(),
            path: mount.mount_path.to_string(),
            volume: volume.to_owned(),
            sub_path: !mount.is_whole(),
            import: self.import.name.clone(),
        })
    }

    fn is_at(&self, path: &str) -> bool {
        // Every spelling of the path contains the name. Checking that first skips most other paths quickly.
        path.contains(&self.import.name) && components(path) == components(&self.path)
    }
}

/// The components of a normalized path. The kubelet treats a relative path as absolute.
fn components(path: &str) -> Vec<&str> {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    components
}

/// The value of `KUBECONFIG`, if it is requested and an import has a kubeconfig. Clients for Windows separate its paths
/// by semicolons, and accept slashes in them.
fn kubeconfigs<'a>(
    spec: &Spec,
    import_mounts: impl IntoIterator<Item = &'a ImportMount<'a>>,
    requested: &RequestedImports,
) -> Option<String> {
    let files = import_mounts.into_iter().filter(|_| requested.kubeconfig_env).filter_map(|import_mount| {
        let file = import_mount.import.kubeconfig.as_ref()?;
        Some(format!("{}/{file}", import_mount.path))
    });
    let files: Vec<_> = files.collect();
    (!files.is_empty()).then(|| files.join(if spec.is_for_windows() { ";" } else { ":" }))
}

/// Adds mounts and the variable to a container, which has a field and an index.
fn add_to(
    builder: &mut PatchBuilder,
    (field, index, container): (&str, usize, &Container),
    mounts: Vec<Value>,
    kubeconfigs: Option<String>,
) {
    let index = index.to_string();
    builder.append(&["spec", field, &index, "volumeMounts"], container.volume_mounts.is_some(), mounts);
    let kubeconfigs = kubeconfigs.filter(|_| !container.sets(KUBECONFIG));
    let env = kubeconfigs.map(|value| json!({ "name": KUBECONFIG, "value": value }));
    builder.append(&["spec", field, &index, "env"], container.env.is_some(), env.into_iter().collect());
}

#[cfg(test)]
mod tests;
