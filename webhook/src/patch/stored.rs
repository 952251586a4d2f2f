//! The imports that a stored pod has, read from the pod: the imports may have been changed or deleted since.

use std::borrow::Cow;

use super::{Import, KUBECONFIG, mount_path, volume_name};
use crate::pod::{Pod, Spec};

/// The imports among `names` whose volume the pod has. If no container of the pod has an import's kubeconfig in
/// `KUBECONFIG`, because each sets its own value, `cached_kubeconfig` supplies the key.
pub(crate) fn stored_imports(
    stored: &Pod,
    names: &[&str],
    cached_kubeconfig: impl Fn(&str) -> Option<Cow<'static, str>>,
) -> Vec<Import> {
    let Some(spec) = &stored.spec else { return Vec::new() };
    let imports = names.iter().filter_map(|&name| {
        let secret = spec.volume(&volume_name(name))?.secret()?.to_owned();
        let kubeconfig = kubeconfig(spec, name).or_else(|| cached_kubeconfig(name));
        Some(Import { name: name.to_owned(), secret, kubeconfig })
    });
    imports.collect()
}

/// The key of an import's kubeconfig, from the variable of a container.
fn kubeconfig(spec: &Spec, import: &str) -> Option<Cow<'static, str>> {
    let folder = mount_path(import);
    let variables = spec.containers().flat_map(|(_, _, container)| container.env.iter().flatten());
    let values = variables.filter(|env| &*env.name == KUBECONFIG).map(|env| &*env.value);
    let key = values.flat_map(|value| value.split([':', ';'])).find_map(|file| {
        let key = file.strip_prefix(&*folder)?.strip_prefix('/')?;
        (!key.is_empty() && !key.contains('/')).then(|| key.to_owned())
    });
    key.map(Cow::Owned)
}
