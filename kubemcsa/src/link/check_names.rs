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
        let name = &connected.target().name;
        bail!(
            "{}: {} {conflict}; if {name} is another cluster, run: {}; if it was recreated, first remove its old \
             objects: {}",
            connected.source().name,
            object::reference(&object),
            connected.plan().flags().with_flag("--target-name", &format!("{name}-2")),
            unlink_source_only(connected.plan().flags(), name),
        );
    }
    Ok(())
}

/// Why a stored object doesn't belong to this target.
fn target_name_conflict(stored: &DynamicObject, target_uid: &str) -> Option<String> {
    match stored.annotations().get(TARGET_UID) {
        Some(uid) if uid == target_uid => None,
        Some(uid) => Some(format!(
            "belongs to another target of the same name, with UID {uid} instead of {target_uid}"
        )),
        None => Some("already exists and does not belong to a link".into()),
    }
}

/// Checks the source's name in the target.
async fn check_source_name(connected: &Connected) -> anyhow::Result<()> {
    let import = object::dynamic(&desired::import(connected, desired::MAX_LIFETIME_SECONDS))?;
    let Some(stored) = apply::read(connected.target(), &import).await? else { return Ok(()) };
    let (name, flags) = (&connected.source().name, connected.plan().flags());
    if let Some(conflict) = source_name_conflict(&stored, connected.source_uid()) {
        bail!(
            "{}: {} {conflict}; if {name} is another cluster, run: {}; if it was recreated, first remove its old \
             link: {}",
            connected.target().name,
            object::reference(&import),
            flags.with_flag("--source-name", &format!("{name}-2")),
            unlink_local_only(flags, name),
        );
    }
    let target = &connected.target().name;
    if let Some(known) = other_target_name(&stored, target) {
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
            flags.with_flag("--source-name", other)
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
                unlink_source_only(connected.plan().flags(), &name)
            );
            connected.progress().warn(&source.name, &text);
        }
    }
    Ok(())
}

fn unlink_source_only(flags: &Flags, target: &str) -> String {
    let target = TargetFlags { name: Some(target.to_owned()), ..Default::default() };
    Flags { target, ..flags.clone() }.other_command("unlink", "--source-only")
}

fn unlink_local_only(flags: &Flags, source: &str) -> String {
    let source = SourceFlags { name: Some(source.to_owned()), ..Default::default() };
    Flags { source, ..flags.clone() }.other_command("unlink", "--local-only")
}

/// Why a stored import isn't the link to this source.
fn source_name_conflict(stored: &DynamicObject, source_uid: &str) -> Option<String> {
    if stored.labels().get(LINK_LABEL).is_none_or(|value| value != "true") {
        return Some("already exists and is not a link".into());
    }
    match stored.annotations().get(CLUSTER_UID) {
        Some(uid) if uid != source_uid => {
            Some(format!("links another source of the same name, with UID {uid} instead of {source_uid}"))
        }
        _ => None,
    }
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
    #[case(None, Some("does not belong to a link"))]
    fn name_of_another_target_is_refused(#[case] annotated: Option<&str>, #[case] expected: Option<&str>) {
        let mut account = ServiceAccount::default();
        let annotation = annotated.map(|uid| (TARGET_UID.to_owned(), uid.to_owned()));
        account.annotations_mut().extend(annotation);
        let conflict = target_name_conflict(&object::dynamic(&account).unwrap(), "u-1");
        assert_eq!(conflict.is_some(), expected.is_some());
        assert!(conflict.unwrap_or_default().contains(expected.unwrap_or_default()));
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
    #[case("false", Some("u-2"), Some("is not a link"))]
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
        assert!(conflict.unwrap_or_default().contains(expected.unwrap_or_default()));
    }
}
