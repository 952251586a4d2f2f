//! The source's side: the launcher's service account and rights in the remote namespace, and the link's right to mint
//! its token. The namespace stays.

use kube::api::DynamicObject;

use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, apply, object, preview};
use crate::commands::launch::current::grant;
use crate::commands::launch::model::Launch;
use crate::commands::launch::objects;
use crate::link::change_grants::{change_grants, current};
use crate::link::grants::{self, Grants, StoredGrants};
use crate::link::{known_targets, launcher};

/// The objects of this target's launcher, in the order of deletion: the Workflow first, then the rights.
pub(crate) async fn find(source: &Cluster, launch: &Launch) -> anyhow::Result<Vec<DynamicObject>> {
    let (stubs, others): (Vec<_>, Vec<_>) =
        objects::source_objects(launch)?.into_iter().rev().partition(launcher::is_stub);
    let others = apply::read_all(source, &others).await?;
    let mut found = launcher::with_stubs(others, &launch.target, apply::read_all(source, &stubs)).await?;
    found
        .retain(|stored| object::is_ours(stored) && launcher::is_of_target(stored, Some(&launch.target_uid)));
    Ok(found)
}

/// Deletes them. `kubectl`: the command with the source's context, for errors.
pub(crate) async fn delete(
    deleter: &mut Deleter,
    kubectl: &str,
    launch: &Launch,
    objects: &[DynamicObject],
) -> anyhow::Result<()> {
    for object in objects {
        deleter.delete(object).await?;
    }
    revoke(deleter, kubectl, launch).await
}

/// Revokes the right to mint tokens of the service account, unless it is a part of a larger one.
async fn revoke(deleter: &mut Deleter, kubectl: &str, launch: &Launch) -> anyhow::Result<()> {
    let (source, target) = (&deleter.cluster, &launch.target);
    // Another cluster may have the same name.
    if known_targets::uid(source, target).await?.as_ref() != Some(&launch.target_uid) {
        return Ok(());
    }
    let stored = grants::read(source, target).await?;
    let before = current(&stored);
    let Some(after) = narrowed(&before, launch) else { return Ok(()) };
    let wanted = after.objects(target)?;
    // After an interruption, a binding can be left without its Role.
    if after == before && stored.obsolete(&wanted).next().is_none() {
        return Ok(());
    }
    if deleter.dry_run {
        for object in stored.obsolete(&wanted) {
            preview::show_delete(source, object)?;
        }
        for object in &wanted {
            preview::show_apply(source, object).await?;
        }
    } else {
        let change = |stored: &StoredGrants| {
            let before = current(stored);
            Ok(narrowed(&before, launch).unwrap_or(before))
        };
        change_grants(source, kubectl, target, change).await?;
    }
    deleter.deleted += 1;
    Ok(())
}

/// The grants without the launcher's service account; `None` if a larger grant includes it.
fn narrowed(before: &Grants, launch: &Launch) -> Option<Grants> {
    let mut after = before.clone();
    after.deny(&grant(launch)).ok()?;
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::Grant;
    use rstest::rstest;

    #[rstest]
    #[case(&["batch/launcher-c1"], Some("nothing"))]
    #[case(&["batch/launcher-c1", "batch/x"], Some("batch/x"))]
    #[case(&["batch/x"], Some("batch/x"))]
    #[case(&["batch"], None)]
    fn mint_right_is_revoked_unless_part_of_a_larger_one(
        #[case] before: &[&str],
        #[case] expected: Option<&str>,
    ) {
        let launch = Launch { target: "c1".into(), remote_namespace: "batch".into(), ..Default::default() };
        let before: Vec<Grant> = before.iter().map(|grant| grant.parse().unwrap()).collect();
        let after = narrowed(&before.iter().collect(), &launch).map(|grants| grants.to_string());
        assert_eq!(after.as_deref(), expected);
        assert_eq!(narrowed(&Grants::Everything, &launch), None);
    }
}
