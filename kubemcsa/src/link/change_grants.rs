//! Changes what a link may import, for commands that change nothing else of it.

use super::grants::{self, Grants, StoredGrants};
use super::progress::Progress;
use super::{TRIES, authorize};
use crate::cluster::Cluster;
use crate::cluster::call::CallError;

/// What a link could import before a change, and what it can import now.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) before: Grants,
    pub(crate) after: Grants,
    /// Whether the source enforces the admission policy.
    pub(crate) supports_policy: bool,
}

/// Applies the change to the current grants. Reads them again if another administrator changed them meanwhile.
pub(crate) async fn change_grants(
    source: &Cluster,
    target: &str,
    change: impl Fn(&Grants) -> anyhow::Result<Grants>,
) -> anyhow::Result<Changed> {
    let progress = Progress::Lines;
    let mut tries = TRIES;
    loop {
        let stored = grants::read(source, target).await?;
        let before = current(&stored);
        let after = change(&before)?;
        authorize::ensure_namespaces(source, &after, &stored).await?;
        let supports_policy = authorize::apply_shared(source, &progress, &after).await?;
        match authorize::apply_grants(source, &progress, target, &after, &stored).await {
            Err(error) if is_conflict(&error) && tries > 1 => tries -= 1,
            applied => return applied.map(|()| Changed { before, after, supports_policy }),
        }
    }
}

/// The grants of a link; none if it has no RBAC objects.
pub(crate) fn current(stored: &StoredGrants) -> Grants {
    stored.grants.clone().unwrap_or(Grants::Only(Default::default()))
}

fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(CallError::is_conflict)
}
