//! The objects in a source that all its links share: the admission policy and the cluster roles. An administrator may
//! have made them stricter, and a newer kubemcsa may have written them, so no write is forced.

use kube::ResourceExt;
use kube::api::DynamicObject;

use super::connect::Connected;
use super::desired::{self, KUBEMCSA_VERSION};
use super::flags::Flags;
use super::grants::Grants;
use super::progress::Progress;
use crate::cluster::apply::{self, DryRun, Outcome};
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};
use crate::manifests;

/// What to do with an object that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing<'a> {
    /// Updates it, unless a newer kubemcsa wrote it, or someone else manages a field that would change. `overwrite` is
    /// the command that ignores other managers.
    Update {
        overwrite: &'a str,
    },
    Keep,
}

/// Creates or updates the objects in the source. Returns whether it supports admission policies.
pub(crate) async fn update(connected: &Connected, grants: &Grants) -> anyhow::Result<bool> {
    let overwrite = overwrite(connected);
    let existing = Existing::Update { overwrite: &overwrite };
    write(connected.source(), connected.progress(), grants, existing).await
}

/// Creates missing objects only. Returns whether the source supports admission policies.
pub(crate) async fn create_missing(
    cluster: &Cluster,
    progress: &Progress,
    grants: &Grants,
) -> anyhow::Result<bool> {
    write(cluster, progress, grants, Existing::Keep).await
}

async fn write(
    cluster: &Cluster,
    progress: &Progress,
    grants: &Grants,
    existing: Existing<'_>,
) -> anyhow::Result<bool> {
    let namespace = manifests::namespace()?;
    // An existing namespace keeps its labels: the source may be a target, too.
    let outcome = match apply::exists(cluster, &namespace).await? {
        true => Outcome::Unchanged,
        false => apply::apply(cluster, &namespace).await?.outcome,
    };
    progress.outcome(&cluster.name, &object::reference(&namespace), outcome);
    let mut supports_policy = true;
    for object in desired::shared()? {
        let reference = object::reference(&object);
        let stored = apply::read(cluster, &object).await?;
        if let Some(stored) = &stored
            && (existing == Existing::Keep || is_newer(stored))
        {
            progress.outcome(&cluster.name, &reference, Outcome::Unchanged);
            continue;
        }
        match apply::apply_unforced(cluster, &object, stored.as_ref()).await {
            Ok(applied) => progress.outcome(&cluster.name, &reference, applied.outcome),
            Err(error) if desired::is_policy(&object) && error.is_not_found() => supports_policy = false,
            Err(error) => match existing {
                Existing::Update { overwrite } if stored.is_some() && error.is_conflict() => {
                    progress.warn(&cluster.name, &kept(&object, &error, overwrite));
                }
                _ => return Err(error.into()),
            },
        }
    }
    if !supports_policy {
        progress.warn(&cluster.name, &no_policy_warning(grants));
    }
    Ok(supports_policy)
}

/// A server-side dry run of [`update`] for one object.
pub(crate) async fn dry_run(connected: &Connected, object: &DynamicObject) -> Result<DryRun, CallError> {
    let (cluster, progress) = (connected.source(), connected.progress());
    let stored = apply::read(cluster, object).await?;
    let unchanged = || DryRun { before: stored.clone(), after: stored.clone() };
    if stored.as_ref().is_some_and(is_newer) {
        return Ok(unchanged());
    }
    match apply::dry_run_unforced(cluster, object, stored.clone()).await {
        Err(error) if stored.is_some() && error.is_conflict() => {
            progress.warn(&cluster.name, &kept(object, &error, &overwrite(connected)));
            Ok(unchanged())
        }
        result => result,
    }
}

/// The API server's message names the other managers and the fields.
fn kept(object: &DynamicObject, error: &CallError, overwrite: &str) -> String {
    format!(
        "{} not updated, because someone else manages fields that differ ({error}); to overwrite these: {overwrite}",
        object::reference(object)
    )
}

/// The command that applies the source's objects, whoever manages them.
fn overwrite(connected: &Connected) -> String {
    let plan = connected.plan();
    format!(
        "{} -o yaml --side source | {} apply --server-side --force-conflicts --field-manager {} -f -",
        Flags { command: "bootstrap", ..plan.flags().clone() }.command_line(),
        plan.source().chosen().kubectl(),
        apply::FIELD_MANAGER
    )
}

/// What the link can request if the admission policy is not enforced.
pub(crate) fn unrestricted_tokens(grants: &Grants) -> &'static str {
    match grants {
        Grants::Everything => "tokens of kube-system, of other links, or for more than 24h",
        Grants::Only(_) => "tokens for more than 24h, or tokens of its own that a rotation doesn't revoke",
    }
}

pub(crate) fn no_policy_warning(grants: &Grants) -> String {
    format!(
        "this API server has no ValidatingAdmissionPolicy (it requires Kubernetes 1.30): the link can request {}",
        unrestricted_tokens(grants)
    )
}

/// Whether a newer kubemcsa wrote the object.
fn is_newer(stored: &DynamicObject) -> bool {
    let stored = stored.annotations().get(KUBEMCSA_VERSION).and_then(|version| release(version));
    stored > release(env!("CARGO_PKG_VERSION"))
}

/// Major, minor and patch version. A suffix, such as that of a pre-release, is ignored.
fn release(version: &str) -> Option<[u64; 3]> {
    let mut numbers = version.split(['-', '+']).next()?.split('.').map(|number| number.parse().ok());
    let release = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::same(Some(env!("CARGO_PKG_VERSION")), false)]
    #[case::newer(Some("999.0.0"), true)]
    #[case::newer_pre_release(Some("999.0.0-rc.1"), true)]
    #[case::older(Some("0.0.0"), false)]
    #[case::not_a_version(Some("newest"), false)]
    #[case::before_the_annotation(None, false)]
    fn object_of_a_newer_version_is_newer(#[case] version: Option<&str>, #[case] expected: bool) {
        let mut object = desired::shared().unwrap().remove(0);
        object.annotations_mut().remove(KUBEMCSA_VERSION).unwrap();
        object.annotations_mut().extend(version.map(|it| (KUBEMCSA_VERSION.to_owned(), it.to_owned())));
        assert_eq!(is_newer(&object), expected);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(release("0.10.0") > release("0.9.9"));
        assert_eq!(release("1.2.3-rc.1"), Some([1, 2, 3]));
        assert_eq!(release("1.2"), None);
        assert_eq!(release("1.2.3.4"), None);
    }
}
