//! Refuses names that are somebody else's already, or not the link's own, before anything is written.

use std::ops::Deref;

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_credentials::contract::{CLUSTER_UID, LINK_LABEL, TARGET_UID};

use super::connect::Connected;
use super::flags::{Flags, SourceFlags, TargetFlags};
use super::{desired, identities};
use crate::cluster::{apply, object};

/// Two clusters whose names for each other belong to this link, or to nothing.
pub struct Claimed(Connected);

impl Deref for Claimed {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.0
    }
}

pub async fn claim(connected: Connected) -> anyhow::Result<Claimed> {
    of_target(&connected).await?;
    of_source(&connected).await?;
    warn_of_others(&connected).await?;
    Ok(Claimed(connected))
}

/// Refuses a name that another target has, or that somebody gave to something else.
async fn of_target(connected: &Connected) -> anyhow::Result<()> {
    for object in [desired::service_account(connected)?, desired::bound_secret(connected)?] {
        let stored = apply::read(connected.source(), &object).await?;
        let Some(taken) = stored.and_then(|stored| taken_from_target(&stored, connected.target_uid())) else {
            continue;
        };
        let name = &connected.target().name;
        bail!(
            "{}: {} {taken}; if it is another cluster, run: {}; if {name} was made anew, remove what it had: {}",
            connected.source().name,
            object::title(&object),
            connected.plan().flags().again_with("--target-name", &format!("{name}-2")),
            source_only(connected.plan().flags(), name),
        );
    }
    Ok(())
}

/// Why an object that is there is not this target's, if it is not.
fn taken_from_target(stored: &DynamicObject, target_uid: &str) -> Option<String> {
    match stored.annotations().get(TARGET_UID) {
        Some(uid) if uid == target_uid => None,
        Some(uid) => {
            Some(format!("belongs to a target of the same name, whose UID is {uid} and not {target_uid}"))
        }
        None => Some("is there already, and no link's".into()),
    }
}

/// Refuses a name that another source has, or that somebody gave to an import that is no link.
async fn of_source(connected: &Connected) -> anyhow::Result<()> {
    let import = object::dynamic(&desired::import(connected, desired::LONGEST))?;
    let Some(stored) = apply::read(connected.target(), &import).await? else { return Ok(()) };
    let name = &connected.source().name;
    if let Some(taken) = taken_from_source(&stored, connected.source_uid()) {
        bail!(
            "{}: {} {taken}; if it is another cluster, run: {}; if {name} was made anew, remove its link first: {}",
            connected.target().name,
            object::title(&import),
            connected.plan().flags().again_with("--source-name", &format!("{name}-2")),
            local_only(connected.plan().flags(), name),
        );
    }
    if let Some(known) = known_by_another_name(&stored, &connected.target().name) {
        let (flags, target) = (connected.plan().flags(), &connected.target().name);
        bail!(
            "{target}: {name} knows this target as {known}, and not as {target}; run: {}; or, to have it known as \
             {target}, first: {} --target-name {known}",
            flags.again_with("--target-name", known),
            Flags { target: TargetFlags { name: None, ..flags.target.clone() }, ..flags.clone() }
                .of("unlink", ""),
        );
    }
    Ok(())
}

/// What the source knows the target as, by the import of a link that is there, if by another name: its
/// identity would be left behind, with all of its rights.
fn known_by_another_name<'a>(stored: &'a DynamicObject, target: &str) -> Option<&'a str> {
    let is_link = stored.labels().get(LINK_LABEL).is_some_and(|value| value == "true");
    stored.data["spec"]["name"].as_str().filter(|known| is_link && *known != target)
}

/// Warns of other names that the source knows this very target by: of a link that was forgotten.
async fn warn_of_others(connected: &Connected) -> anyhow::Result<()> {
    let (source, target) = (connected.source(), connected.target());
    for name in identities::names_of(source, connected.target_uid()).await? {
        if name != target.name {
            let said = format!(
                "it knows {} as {name}, too, with rights of its own; if no link uses that: {}",
                target.name,
                source_only(connected.plan().flags(), &name)
            );
            connected.progress().warn(&source.name, &said);
        }
    }
    Ok(())
}

/// The command that cleans the source of a target that is gone.
fn source_only(flags: &Flags, target: &str) -> String {
    let target = TargetFlags { name: Some(target.to_owned()), ..Default::default() };
    Flags { target, ..flags.clone() }.of("unlink", "--source-only")
}

/// The command that cleans the target of a source that is gone.
fn local_only(flags: &Flags, source: &str) -> String {
    let source = SourceFlags { name: Some(source.to_owned()), ..Default::default() };
    Flags { source, ..flags.clone() }.of("unlink", "--local-only")
}

fn taken_from_source(stored: &DynamicObject, source_uid: &str) -> Option<String> {
    if stored.labels().get(LINK_LABEL).is_none_or(|value| value != "true") {
        return Some("is there already, and no link".into());
    }
    match stored.annotations().get(CLUSTER_UID) {
        Some(uid) if uid != source_uid => {
            Some(format!("links a source of the same name, whose UID is {uid} and not {source_uid}"))
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
    #[case(Some("u-2"), Some("whose UID is u-2 and not u-1"))]
    #[case(None, Some("no link's"))]
    fn a_name_belongs_to_one_target(#[case] annotated: Option<&str>, #[case] said: Option<&str>) {
        let mut account = ServiceAccount::default();
        let annotation = annotated.map(|uid| (TARGET_UID.to_owned(), uid.to_owned()));
        account.annotations_mut().extend(annotation);
        let taken = taken_from_target(&object::dynamic(&account).unwrap(), "u-1");
        assert_eq!(taken.is_some(), said.is_some());
        assert!(taken.unwrap_or_default().contains(said.unwrap_or_default()));
    }

    #[rstest]
    #[case("true", "c1", None)]
    #[case("true", "c1-old", Some("c1-old"))]
    #[case("false", "c1-old", None)]
    fn a_link_has_one_name_for_its_target(
        #[case] label: &str,
        #[case] name: &str,
        #[case] expected: Option<&str>,
    ) {
        let spec = ServiceAccountImportSpec { name: name.into(), ..Default::default() };
        let mut import = ServiceAccountImport::new("c2", spec);
        import.labels_mut().insert(LINK_LABEL.into(), label.into());
        assert_eq!(known_by_another_name(&object::dynamic(&import).unwrap(), "c1"), expected);
    }

    #[rstest]
    #[case("true", Some("u-2"), None)]
    #[case("true", None, None)]
    #[case("true", Some("u-3"), Some("whose UID is u-3 and not u-2"))]
    #[case("false", Some("u-2"), Some("no link"))]
    fn a_name_belongs_to_one_source(
        #[case] link: &str,
        #[case] annotated: Option<&str>,
        #[case] said: Option<&str>,
    ) {
        let mut import = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        import.labels_mut().insert(LINK_LABEL.into(), link.into());
        import.annotations_mut().extend(annotated.map(|uid| (CLUSTER_UID.to_owned(), uid.to_owned())));
        let taken = taken_from_source(&object::dynamic(&import).unwrap(), "u-2");
        assert_eq!(taken.is_some(), said.is_some());
        assert!(taken.unwrap_or_default().contains(said.unwrap_or_default()));
    }
}
