//! Changes what a link may import, for commands that change nothing else of it.

use anyhow::bail;

use super::flags::Flags;
use super::grants::{self, Grants, StoredGrants};
use super::progress::Progress;
use super::{TRIES, authorize, shared};
use crate::cluster::Cluster;
use crate::cluster::call::CallError;

/// What a link can import after a change.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) after: Grants,
    /// Whether the grants were others before.
    pub(crate) is_changed: bool,
    /// Whether the source enforces the admission policy.
    pub(crate) supports_policy: bool,
}

/// Applies a change to the stored grants, until they include it. Other administrators may change other grants meanwhile.
/// `kubectl`: the command with the source's context, for errors.
pub(crate) async fn change_grants(
    source: &Cluster,
    kubectl: &str,
    target: &str,
    change: impl Fn(&StoredGrants) -> anyhow::Result<Grants>,
) -> anyhow::Result<Changed> {
    let progress = Progress::Lines;
    let mut stored = grants::read(source, target).await?;
    let (before, was_ambiguous) = (current(&stored), stored.is_ambiguous());
    let mut supports_policy = None;
    for _ in 0..TRIES {
        let after = change(&stored)?;
        authorize::ensure_namespaces(source, &after, &stored).await?;
        let policy = match supports_policy {
            Some(policy) => policy,
            None => shared::create_missing(source, &progress, &after).await?,
        };
        supports_policy = Some(policy);
        let applied = authorize::apply_grants(source, &progress, kubectl, target, &after, &stored).await;
        stored = grants::read(source, target).await?;
        match applied {
            Err(error) if is_conflict(&error) => continue,
            applied => applied?,
        }
        let now = current(&stored);
        if !stored.is_ambiguous() && change(&stored)? == now {
            let is_changed = was_ambiguous || before != now;
            return Ok(Changed { after: now, is_changed, supports_policy: policy });
        }
    }
    bail!(
        "{}: others keep changing what {target} may import, which is {} now; coordinate with them, then run the command \
         again",
        source.name,
        current(&stored)
    )
}

/// The grants of a link; none if it has no RBAC objects.
pub(crate) fn current(stored: &StoredGrants) -> Grants {
    stored.grants.clone().unwrap_or(Grants::Only(Default::default()))
}

/// The error for ambiguous grants: an administrator must say which are meant.
pub(crate) fn ambiguous(source: &str, target: &str, flags: &Flags) -> anyhow::Error {
    anyhow::anyhow!(
        "{source}: {target} has a binding for everything, and also bindings in some namespaces; choose one: {} --allow \
         NAMESPACE[/NAME], or: {}",
        flags.with_both_contexts().other_command("bootstrap", ""),
        flags.other_command("allow", "--everything"),
    )
}

/// Whether another administrator changed the grants since they were read.
pub(crate) fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(CallError::is_conflict)
}
