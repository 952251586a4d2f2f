//! With `--delete-imports`: the definition of imports, and the system namespace.

use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::installed::is_ours;
use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::{apply, object};
use crate::link::identities;
use crate::manifests;

/// Removes both, and waits until they are gone, unless somebody needs them.
///
/// # Errors
/// When one can't be removed, or is not gone in time; the error says what holds it.
pub async fn delete(deleter: &mut Deleter, others: &[DynamicObject]) -> anyhow::Result<()> {
    if let Some(definition) = apply::read(&deleter.cluster, &manifests::crd()?).await? {
        if !is_ours(&definition) {
            // And so are imports, some of which may be in the namespace.
            left_alone(deleter, &definition, "it is another program's");
            return Ok(());
        }
        deleter.delete(&definition).await?;
    }
    let Some(namespace) = apply::read(&deleter.cluster, &manifests::namespace()?).await? else {
        return Ok(());
    };
    // All that is in it would go with it.
    let theirs = others.iter().find(|object| object.namespace().as_deref() == Some(SYSTEM_NAMESPACE));
    let targets = identities::targets(&deleter.cluster).await?;
    if !is_ours(&namespace) {
        left_alone(deleter, &namespace, "nothing marks it as ours");
    } else if let Some(theirs) = theirs {
        left_alone(deleter, &namespace, &format!("{} in it is someone else's", object::title(theirs)));
    } else if !targets.is_empty() {
        let why =
            format!("this cluster is a source, too, and in it are the identities of {}", targets.join(", "));
        left_alone(deleter, &namespace, &why);
    } else {
        deleter.delete(&namespace).await?;
    }
    Ok(())
}

fn left_alone(deleter: &Deleter, object: &DynamicObject, why: &str) {
    output::warn(&deleter.cluster.name, &format!("{} is left alone: {why}", object::title(object)));
}
