//! What is added to a pod: a pure function of the pod and its imports.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use k8s_openapi::api::core::v1::{Pod, PodSpec, SecretVolumeSource, Volume, VolumeMount};
use mcsa_client::contract::MOUNT_ROOT;
use mcsa_client::names::dns_label;
use serde::Serialize;
use serde_json::{Value, json};

use crate::text::quote;

/// An import that a pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// The Secret that holds its credential, or will.
    pub secret: String,
}

impl Import {
    fn volume_name(&self) -> String {
        dns_label("sai-", &self.name)
    }

    fn mount_path(&self) -> String {
        format!("{MOUNT_ROOT}/{}", self.name)
    }

    fn volume(&self) -> Volume {
        let secret = SecretVolumeSource { secret_name: Some(self.secret.clone()), ..Default::default() };
        Volume { name: self.volume_name(), secret: Some(secret), ..Default::default() }
    }

    fn volume_mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.volume_name(),
            mount_path: self.mount_path(),
            read_only: Some(true),
            ..Default::default()
        }
    }

    fn secret_of(volume: &Volume) -> Option<&str> {
        volume.secret.as_ref()?.secret_name.as_deref()
    }
}

/// What the pod has already is in the way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A container mounts something else where the import belongs.
    #[error(
        "container {} mounts volume {} at {}, where import {import} belongs: mount it elsewhere, or remove {import} \
         from the pod's annotation",
        quote(container),
        quote(volume),
        quote(path)
    )]
    MountPath {
        /// The container.
        container: String,
        /// The path, as the container says it.
        path: String,
        /// The volume that is mounted there.
        volume: String,
        /// The import.
        import: String,
    },
    /// A volume has the name of ours, and is another one.
    #[error(
        "volume {volume:?} is not Secret {secret}, for which that name is reserved by import {import}: rename the \
         volume, or remove {import} from the pod's annotation"
    )]
    Volume {
        /// The volume.
        volume: String,
        /// The Secret that it should be.
        secret: String,
        /// The import.
        import: String,
    },
}

/// What the pod lacks: for each import a volume, and a mount in every container. Empty where it
/// lacks nothing. What the pod has is never changed.
///
/// # Errors
/// When a volume name or a mount path that an import needs is taken by something else.
pub fn patch(pod: &Pod, imports: &[Import]) -> Result<Patch, Conflict> {
    let Some(spec) = &pod.spec else { return Ok(Patch(Vec::new())) };
    let volumes = missing_volumes(spec.volumes.as_deref().unwrap_or_default(), imports)?;
    let mut operations = add(vec!["spec".into(), "volumes".into()], spec.volumes.is_some(), &volumes);
    for container in containers(spec) {
        let mounts = container.missing_mounts(imports)?;
        let path =
            vec!["spec".into(), container.field.into(), container.index.to_string(), "volumeMounts".into()];
        operations.extend(add(path, container.mounts.is_some(), &mounts));
    }
    Ok(Patch(operations))
}

fn missing_volumes(present: &[Volume], imports: &[Import]) -> Result<Vec<Volume>, Conflict> {
    let mut missing: Vec<Volume> = Vec::new();
    for import in imports {
        let volume = import.volume();
        match present.iter().chain(&missing).find(|other| other.name == volume.name) {
            None => missing.push(volume),
            Some(other) if Import::secret_of(other) == Some(&import.secret) => {}
            Some(_) => {
                return Err(Conflict::Volume {
                    volume: volume.name,
                    secret: import.secret.clone(),
                    import: import.name.clone(),
                });
            }
        }
    }
    Ok(missing)
}

/// What containers of all kinds have in common.
struct Container<'a> {
    field: &'static str,
    index: usize,
    name: &'a str,
    mounts: Option<&'a [VolumeMount]>,
}

/// Every container, sidecars among the init containers, in the order in which a pod lists them.
fn containers(spec: &PodSpec) -> impl Iterator<Item = Container<'_>> {
    let init = spec.init_containers.iter().flatten().map(|c| (&c.name, &c.volume_mounts)).enumerate();
    let main = spec.containers.iter().map(|c| (&c.name, &c.volume_mounts)).enumerate();
    // A new pod has none; `kubectl debug` goes through pods/ephemeralcontainers, not registered.
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().map(|c| (&c.name, &c.volume_mounts)).enumerate();
    let init = init.map(|container| ("initContainers", container));
    let main = main.map(|container| ("containers", container));
    let ephemeral = ephemeral.map(|container| ("ephemeralContainers", container));
    init.chain(main).chain(ephemeral).map(|(field, (index, (name, mounts)))| Container {
        field,
        index,
        name,
        mounts: mounts.as_deref(),
    })
}

impl Container<'_> {
    fn missing_mounts(&self, imports: &[Import]) -> Result<Vec<VolumeMount>, Conflict> {
        let mut missing = Vec::new();
        for import in imports {
            let mount = import.volume_mount();
            let there = self.mounts.unwrap_or_default().iter().find(|other| same_path(other, &mount));
            match there {
                None => missing.push(mount),
                Some(other) if other.name == mount.name => {}
                Some(other) => {
                    return Err(Conflict::MountPath {
                        container: self.name.to_owned(),
                        path: other.mount_path.clone(),
                        volume: other.name.clone(),
                        import: import.name.clone(),
                    });
                }
            }
        }
        Ok(missing)
    }
}

fn same_path(a: &VolumeMount, b: &VolumeMount) -> bool {
    normal(&a.mount_path) == normal(&b.mount_path)
}

/// The folders of a path. The kubelet takes a relative one as absolute.
fn normal(path: &str) -> Vec<&str> {
    let mut folders = Vec::new();
    for folder in path.split('/') {
        match folder {
            "" | "." => {}
            ".." => drop(folders.pop()),
            folder => folders.push(folder),
        }
    }
    folders
}

/// The operations that add `items` to the array at `path`, or make that array.
fn add<T: Serialize>(path: Vec<String>, exists: bool, items: &[T]) -> Vec<PatchOperation> {
    let add = |path: &[String], value: Value| {
        PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
    };
    if items.is_empty() {
        Vec::new()
    } else if exists {
        let end = [path, vec!["-".to_owned()]].concat();
        items.iter().map(|item| add(&end, json!(item))).collect()
    } else {
        vec![add(&path, json!(items))]
    }
}

#[cfg(test)]
mod tests;
