//! Refuses names that belong to another link or to an unrelated object, before anything is written.

use std::ops::Deref;

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_credentials::contract::{CLUSTER_UID, LINK_LABEL, TARGET_UID};

use super::connect::Connected;
use super::existing::{self, Account};
use super::flags::{Flags, SourceFlags, TargetFlags};
use super::{desired, known_targets};
use crate::cluster::kubeconfig::shell_quote;
use crate::cluster::{apply, object};

/// Two clusters whose names for each other are free, or already belong to this link.
pub(crate) struct NamesChecked(Connected);

impl Deref for NamesChecked {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.0
    }
}

pub(crate) async fn check_names(connected: Connected) -> anyhow::Result<NamesChecked> {
    check_target_name(&connected).await?;
    check_source_name(&connected).await?;
    check_other_links(&connected).await?;
    warn_of_other_names(&connected).await?;
    Ok(NamesChecked(connected))
}

/// Checks the target's name in the source.
async fn check_target_name(connected: &Connected) -> anyhow::Result<()> {
    for object in [desired::service_account(connected)?, desired::bound_secret(connected)?] {
        let stored = apply::read(connected.source(), &object).await?;
        let conflict = stored.and_then(|stored| target_name_conflict(&stored, connected.target_uid()));
        let Some(conflict) = conflict else { continue };
        let (name, flags) = (&connected.target().name, connected.plan().flags());
        let fixes = Fixes {
            rename: flags.with_flag("--target-name", &format!("{name}-2")),
            unlink: flags.unlink_source_only(name),
            kubectl: connected.plan().source().chosen().kubectl(),
        };
        bail!("{}: {}", connected.source().name, conflict.message(&object, name, &fixes));
    }
    Ok(())
}

/// Why a link can't use the name of a stored object.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Conflict {
    /// It belongs to another link, in these words.
    OtherLink(String),
    /// It does not belong to a link, so `unlink` would refuse to delete it.
    NoLink,
}

/// The commands that resolve a conflict.
struct Fixes {
    /// This command, with another name.
    rename: String,
    /// Deletes the other link.
    unlink: String,
    /// kubectl in the cluster with the object.
    kubectl: String,
}

impl Conflict {
    /// `name`: of the cluster that is called like the object.
    fn message(&self, object: &DynamicObject, name: &str, fixes: &Fixes) -> String {
        let reference = object::reference(object);
        let Fixes { rename, unlink, kubectl } = fixes;
        match self {
            Self::OtherLink(problem) => format!(
                "{reference} {problem}; if {name} is another cluster, run: {rename}; if it was recreated, first remove the \
                 old link: {unlink}"
            ),
            Self::NoLink => format!(
                "{reference} already exists and does not belong to a link; use another name: {rename}; or, if nobody needs \
                 the object, delete it first: {kubectl} delete {reference}"
            ),
        }
    }
}

/// Why a stored object doesn't belong to this target.
fn target_name_conflict(stored: &DynamicObject, target_uid: &str) -> Option<Conflict> {
    match stored.annotations().get(TARGET_UID) {
        Some(uid) if uid == target_uid => None,
        Some(uid) => Some(Conflict::OtherLink(format!(
            "belongs to another target of the same name, with UID {uid} instead of {target_uid}"
        ))),
        None => Some(Conflict::NoLink),
    }
}

/// Checks the source's name in the target.
async fn check_source_name(connected: &Connected) -> anyhow::Result<()> {
    let import = object::dynamic(&desired::import(connected, desired::MAX_LIFETIME_SECONDS))?;
    let Some(stored) = apply::read(connected.target(), &import).await? else { return Ok(()) };
    let (name, flags) = (&connected.source().name, connected.plan().flags());
    if let Some(conflict) = source_name_conflict(&stored, connected.source_uid()) {
        let fixes = Fixes {
            rename: flags.with_flag("--source-name", &format!("{name}-2")),
            unlink: unlink_local_only(flags, name),
            kubectl: connected.plan().target().chosen().kubectl(),
        };
        bail!("{}: {}", connected.target().name, conflict.message(&import, name, &fixes));
    }
    let target = &connected.target().name;
    if let Some(known) = other_target_name(&stored, target) {
        let known = shell_quote(known);
        bail!(
            "{name}: this cluster knows this target as {known}, not as {target}: use --target-name {known}, or, to rename \
             it to {target}, first run: {} --target-name {known}",
            Flags { target: TargetFlags { name: None, ..flags.target.clone() }, ..flags.clone() }
                .other_command("unlink", ""),
        );
    }
    Ok(())
}

/// The target's name in a stored link, if it is another one. A link with the new name would leave the old service
/// account in the source, with all of its rights.
fn other_target_name<'a>(stored: &'a DynamicObject, target: &str) -> Option<&'a str> {
    let is_link = stored.labels().get(LINK_LABEL).is_some_and(|value| value == "true");
    stored.data["spec"]["name"].as_str().filter(|known| is_link && *known != target)
}

/// Refuses a second name of the same source: both links would share the target's service account there, so to rotate or
/// unlink one would break the other.
async fn check_other_links(connected: &Connected) -> anyhow::Result<()> {
    let (target, source) = (connected.target(), connected.source());
    let stored = apply::read(source, &desired::service_account(connected)?).await?;
    let uid = stored.and_then(|stored| stored.uid());
    let account =
        Account { cluster_uid: Some(connected.source_uid()), name: &target.name, uid: uid.as_deref() };
    let links = existing::list(target).await?;
    let (own, others): (Vec<_>, Vec<_>) = links.iter().partition(|link| link.cluster_name == source.name);
    let Some(other) = existing::with_account(others, account).into_iter().next() else { return Ok(()) };
    let flags = connected.plan().flags();
    let unlink = {
        let source = SourceFlags { name: Some(other.to_owned()), ..flags.source.clone() };
        Flags { source, ..flags.clone() }.other_command("unlink", "")
    };
    let problem = format!(
        "{}: {other} links the same cluster as {}, with the same service account, so to rotate or unlink one link would \
         break the other",
        target.name, source.name
    );
    if own.is_empty() {
        bail!(
            "{problem}; use that link: {}, or unlink it first: {unlink}",
            flags.with_flag("--source-name", &shell_quote(other))
        );
    }
    bail!("{problem}; unlink one of them first, which keeps the service account for the other: {unlink}");
}

/// Warns if the source has service accounts for this target under other names, such as after `unlink --local-only`.
async fn warn_of_other_names(connected: &Connected) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    for name in known_targets::names_by_uid(source, connected.target_uid()).await? {
        if name != target.name {
            let text = format!(
                "this cluster also knows {} as {name}, with separate rights; if no link uses that name, run: {}",
                target.name,
                connected.plan().flags().unlink_source_only(&name)
            );
            connected.progress().warn(&source.name, &text);
        }
    }
    Ok(())
}

fn unlink_local_only(flags: &Flags, source: &str) -> String {
    let source = SourceFlags { name: Some(source.to_owned()), ..Default::default() };
    Flags { source, ..flags.clone() }.other_command("unlink", "--local-only")
}

/// Why a stored import isn't the link to this source.
fn source_name_conflict(stored: &DynamicObject, source_uid: &str) -> Option<Conflict> {
    if stored.labels().get(LINK_LABEL).is_none_or(|value| value != "true") {
        return Some(Conflict::NoLink);
    }
    let uid = stored.annotations().get(CLUSTER_UID).filter(|uid| *uid != source_uid)?;
    Some(Conflict::OtherLink(format!(
        "links another source of the same name, with UID {uid} instead of {source_uid}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceAccount;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use rstest::rstest;

    #[rstest]
    #[case(Some("u-1"), None)]
    #[case(Some("u-2"), Some("with UID u-2 instead of u-1"))]
    #[case(None, Some("NoLink"))]
    fn name_of_another_target_is_refused(#[case] annotated: Option<&str>, #[case] expected: Option<&str>) {
        let mut account = ServiceAccount::default();
        let annotation = annotated.map(|uid| (TARGET_UID.to_owned(), uid.to_owned()));
        account.annotations_mut().extend(annotation);
        let conflict = target_name_conflict(&object::dynamic(&account).unwrap(), "u-1");
        assert_eq!(conflict.is_some(), expected.is_some());
        assert!(format!("{conflict:?}").contains(expected.unwrap_or_default()));
    }

    /// `unlink` deletes only links, so the advice must not be to run it for other objects.
    #[rstest]
    #[case::other_link(Conflict::OtherLink("is old".into()), &["serviceaccount/c1 -n system is old", "RENAME", "UNLINK"], "KUBECTL")]
    #[case::no_link(Conflict::NoLink, &["RENAME", "KUBECTL delete serviceaccount/c1 -n system"], "UNLINK")]
    fn advice_for_a_name_that_is_taken_works(
        #[case] conflict: Conflict,
        #[case] words: &[&str],
        #[case] absent: &str,
    ) {
        let mut account = ServiceAccount::default();
        account.metadata.name = Some("c1".into());
        account.metadata.namespace = Some("system".into());
        let fixes = Fixes { rename: "RENAME".into(), unlink: "UNLINK".into(), kubectl: "KUBECTL".into() };
        let message = conflict.message(&object::dynamic(&account).unwrap(), "c1", &fixes);
        assert!(words.iter().all(|word| message.contains(word)) && !message.contains(absent), "{message}");
    }

    #[rstest]
    #[case("true", "c1", None)]
    #[case("true", "c1-old", Some("c1-old"))]
    #[case("false", "c1-old", None)]
    fn other_name_of_the_target_is_found_in_links_only(
        #[case] label: &str,
        #[case] name: &str,
        #[case] expected: Option<&str>,
    ) {
        let spec = ServiceAccountImportSpec { name: name.into(), ..Default::default() };
        let mut import = ServiceAccountImport::new("c2", spec);
        import.labels_mut().insert(LINK_LABEL.into(), label.into());
        assert_eq!(other_target_name(&object::dynamic(&import).unwrap(), "c1"), expected);
    }

    #[rstest]
    #[case("true", Some("u-2"), None)]
    #[case("true", None, None)]
    #[case("true", Some("u-3"), Some("with UID u-3 instead of u-2"))]
    #[case("false", Some("u-2"), Some("NoLink"))]
    fn name_of_another_source_is_refused(
        #[case] link: &str,
        #[case] annotated: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let mut import = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        import.labels_mut().insert(LINK_LABEL.into(), link.into());
        import.annotations_mut().extend(annotated.map(|uid| (CLUSTER_UID.to_owned(), uid.to_owned())));
        let conflict = source_name_conflict(&object::dynamic(&import).unwrap(), "u-2");
        assert_eq!(conflict.is_some(), expected.is_some());
        assert!(format!("{conflict:?}").contains(expected.unwrap_or_default()));
    }
}
