//! What is added to a pod: a pure function of the pod and its imports.

use std::borrow::Cow;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use mcsa_client::contract::MOUNT_ROOT;
use mcsa_credentials::names::dns_label;
use serde_json::{Value, json};

use crate::message::quote;
use crate::pod::{Container, Pod, Spec};

/// The variable by which kubectl and client libraries find their kubeconfigs.
const KUBECONFIG: &str = "KUBECONFIG";

/// An import that a pod names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// The Secret that holds its credential, or will.
    pub secret: String,
    /// The file of the mount that is a kubeconfig, if one is.
    pub kubeconfig: Option<Cow<'static, str>>,
}

/// What a pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The imports, in its order.
    pub imports: Vec<Import>,
    /// Whether `KUBECONFIG` is to name their kubeconfigs.
    pub kubeconfig_env: bool,
}

/// What the pod has already is in the way.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A container mounts something else where the import belongs.
    #[error(
        "container {} mounts {}volume {} at {}, where import {import} belongs: mount it elsewhere, or remove {import} \
         from the pod's annotation",
        quote(container),
        if *part { "a subPath of " } else { "" },
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
        /// Whether only a part of the volume is.
        part: bool,
        /// The import.
        import: String,
    },
    /// A volume has the name of ours, and is another one.
    #[error(
        "volume {volume:?} is not Secret {secret} as a whole, for which that name is reserved by import {import}: \
         rename the volume, or remove {import} from the pod's annotation"
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

/// What a new pod lacks: for each import a volume, and a mount in every container; where it asks for
/// it, the variable `KUBECONFIG` in every container. Empty where it lacks nothing. What the pod has is
/// never changed.
///
/// # Errors
/// When a volume name or a mount path that an import needs is taken by something else.
pub fn patch(pod: &Pod, wanted: &Wanted) -> Result<Patch, Conflict> {
    let mut additions = Additions::default();
    let Some(spec) = &pod.spec else { return Ok(additions.patch()) };
    let places: Vec<_> = wanted.imports.iter().map(Place::of).collect();
    let mut missing = Vec::new();
    for place in &places {
        if place.lacks_volume(spec)? {
            missing.push(place.volume());
        }
    }
    additions.add(&["spec", "volumes"], spec.volumes.is_some(), missing);
    for (field, index, container) in spec.containers() {
        let mut mounts = Vec::new();
        for place in &places {
            if place.lacks_mount(spec, container)? {
                mounts.push(place.mount());
            }
        }
        additions.add_to(field, index, container, mounts, kubeconfigs(&places, wanted));
    }
    Ok(additions.patch())
}

/// What those ephemeral containers lack that are not in the pod as it is stored. A pod that runs can
/// have no new volumes, and whoever debugs it is not to be stopped: an import whose volume it does not
/// have, or that something is in the way of, is left out.
pub fn patch_debugging(pod: &Pod, stored: &Pod, wanted: &Wanted) -> Patch {
    let mut additions = Additions::default();
    let Some(spec) = &stored.spec else { return additions.patch() };
    let places: Vec<_> = wanted.imports.iter().map(Place::of).collect();
    for (index, container) in pod.ephemeral_containers().enumerate() {
        if stored.ephemeral_containers().any(|old| old.name == container.name) {
            continue;
        }
        let (mut possible, mut mounts) = (Vec::new(), Vec::new());
        for place in places.iter().filter(|place| place.lacks_volume(spec) == Ok(false)) {
            let Ok(lacking) = place.lacks_mount(spec, container) else { continue };
            possible.push(place);
            mounts.extend(lacking.then(|| place.mount()));
        }
        let kubeconfigs = kubeconfigs(possible, wanted);
        additions.add_to("ephemeralContainers", index, container, mounts, kubeconfigs);
    }
    additions.patch()
}

/// Where an import belongs in a pod.
struct Place<'a> {
    import: &'a Import,
    volume: String,
    path: String,
}

impl<'a> Place<'a> {
    fn of(import: &'a Import) -> Self {
        let path = format!("{MOUNT_ROOT}/{}", import.name);
        Self { import, volume: dns_label("sai-", &import.name), path }
    }

    fn volume(&self) -> Value {
        json!({ "name": self.volume, "secret": { "secretName": self.import.secret } })
    }

    fn mount(&self) -> Value {
        json!({ "name": self.volume, "mountPath": self.path, "readOnly": true })
    }

    fn lacks_volume(&self, spec: &Spec) -> Result<bool, Conflict> {
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

    /// Another volume at the path is as good as ours if it is the same Secret. Mounts above and below
    /// are not in the way: runtimes mount the outer one first, and make folders for the inner one where they
    /// may write.
    fn lacks_mount(&self, spec: &Spec, container: &Container) -> Result<bool, Conflict> {
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
            part: !mount.is_whole(),
            import: self.import.name.clone(),
        })
    }

    fn is_at(&self, path: &str) -> bool {
        // Each spelling of our path has the name in it, and hardly any other path does.
        path.contains(&self.import.name) && normal(path) == normal(&self.path)
    }
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

/// The value of `KUBECONFIG`, if it is wanted and there is any kubeconfig.
fn kubeconfigs<'a>(places: impl IntoIterator<Item = &'a Place<'a>>, wanted: &Wanted) -> Option<String> {
    let files = places.into_iter().filter(|_| wanted.kubeconfig_env).filter_map(|place| {
        let file = place.import.kubeconfig.as_ref()?;
        Some(format!("{}/{file}", place.path))
    });
    let files: Vec<_> = files.collect();
    (!files.is_empty()).then(|| files.join(":"))
}

/// What is added, so far.
#[derive(Default)]
struct Additions(Vec<PatchOperation>);

impl Additions {
    fn add_to(
        &mut self,
        field: &str,
        index: usize,
        container: &Container,
        mounts: Vec<Value>,
        kubeconfigs: Option<String>,
    ) {
        let index = index.to_string();
        self.add(&["spec", field, &index, "volumeMounts"], container.volume_mounts.is_some(), mounts);
        let kubeconfigs = kubeconfigs.filter(|_| !container.sets(KUBECONFIG));
        let env = kubeconfigs.map(|value| json!({ "name": KUBECONFIG, "value": value }));
        self.add(&["spec", field, &index, "env"], container.env.is_some(), env.into_iter().collect());
    }

    /// Adds items to the end of the list at `path`, or makes that list.
    fn add(&mut self, path: &[&str], exists: bool, items: Vec<Value>) {
        let add = |path, value| PatchOperation::Add(AddOperation { path, value });
        if items.is_empty() {
            return;
        }
        let path = PointerBuf::from_tokens(path.iter().copied());
        if !exists {
            return self.0.push(add(path, items.into()));
        }
        let end = path.with_trailing_token("-");
        self.0.extend(items.into_iter().map(|item| add(end.clone(), item)));
    }

    fn patch(self) -> Patch {
        Patch(self.0)
    }
}

#[cfg(test)]
mod tests;
