//! Ensures that `--stop` has the names of the link: with a wrong one, it would delete the rights of pods that run.

use std::collections::BTreeSet;

use anyhow::bail;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::LAUNCHER;

use crate::commands::launch::model::Launch;
use crate::link::existing::ExistingLink;
use crate::link::flags::{Flags, SourceFlags, TargetFlags};

/// Why the names are not those of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// The target knows the source under another name.
    SourceName(String),
    /// The source knows the target under another name.
    TargetName(String),
    /// The link leads to a cluster with this UID.
    OtherCluster(String),
    /// Nothing in the target names the source. These names are known.
    Unknown(Vec<String>),
}

/// Fails if a name is wrong. A missing link is no problem if a launch import names the source. `arguments`: those of
/// this command. `source_uid`: `None` if the source is not read.
pub(crate) fn ensure_known(
    links: &[ExistingLink],
    imports: &[ServiceAccountImport],
    launch: &Launch,
    source_uid: Option<&str>,
    flags: &Flags,
    arguments: &str,
) -> anyhow::Result<()> {
    let Some(problem) = problem(links, imports, launch, source_uid) else { return Ok(()) };
    let Launch { target, source, .. } = launch;
    match problem {
        Problem::SourceName(known) => {
            let named = SourceFlags { name: Some(known.clone()), ..flags.source.clone() };
            let command = Flags { source: named, ..flags.clone() }.other_command("launch", arguments);
            bail!(
                "{target}: nothing was deleted: this source is linked as {known}, not as {source}; run: {command}"
            )
        }
        Problem::TargetName(known) => {
            let named = TargetFlags { name: Some(known.clone()), ..flags.target.clone() };
            let command = Flags { target: named, ..flags.clone() }.other_command("launch", arguments);
            bail!(
                "{target}: nothing was deleted: {source} knows this target as {known}, not as {target}; run: {command}"
            )
        }
        Problem::OtherCluster(uid) => bail!(
            "{target}: nothing was deleted: link {source} is for another cluster of that name, with UID {uid} instead of {}; \
             choose that cluster's context with --source-context",
            source_uid.unwrap_or_default()
        ),
        Problem::Unknown(known) => bail!(
            "{target}: nothing was deleted: no link and no launch import names {source}; choose a known source with \
             --source-name: {}",
            known.join(", ")
        ),
    }
}

fn problem(
    links: &[ExistingLink],
    imports: &[ServiceAccountImport],
    launch: &Launch,
    source_uid: Option<&str>,
) -> Option<Problem> {
    if let Some(link) = links.iter().find(|link| link.cluster_name == launch.source) {
        return link_problem(link, launch, source_uid);
    }
    let same_cluster = links.iter().find(|link| source_uid.is_some() && link.cluster_uid() == source_uid);
    if let Some(link) = same_cluster {
        return Some(Problem::SourceName(link.cluster_name.clone()));
    }
    let named: Vec<_> = imports.iter().filter(|it| it.spec.cluster_name == launch.source).collect();
    if named.is_empty() {
        let linked = links.iter().map(|link| &link.cluster_name);
        let known: BTreeSet<_> = linked.chain(imports.iter().map(|it| &it.spec.cluster_name)).collect();
        return (!known.is_empty()).then(|| Problem::Unknown(known.into_iter().cloned().collect()));
    }
    let own = named.into_iter().filter(|it| {
        it.namespace().as_ref() == Some(&launch.namespace) && it.spec.namespace == launch.remote_namespace
    });
    let accounts: Vec<_> = own.map(|import| import.spec.name.as_str()).collect();
    if accounts.contains(&launch.account().as_str()) {
        return None;
    }
    let mut targets = accounts.iter().filter_map(|account| account.strip_prefix(LAUNCHER)?.strip_prefix('-'));
    targets.next().map(|known| Problem::TargetName(known.to_owned()))
}

fn link_problem(link: &ExistingLink, launch: &Launch, source_uid: Option<&str>) -> Option<Problem> {
    if let Some((_, known)) = link.identity()
        && known != launch.target
    {
        return Some(Problem::TargetName(known));
    }
    let uid = link.cluster_uid().filter(|uid| source_uid.is_some_and(|source_uid| source_uid != *uid));
    uid.map(|uid| Problem::OtherCluster(uid.to_owned()))
}

/// The names in the target that lead to the source, or may do so.
pub(crate) fn aliases(links: &[ExistingLink], source: &str, source_uid: Option<&str>) -> BTreeSet<String> {
    let own = || links.iter().find(|link| link.cluster_name == source)?.cluster_uid();
    let source_uid = source_uid.or_else(own);
    // A link that was created by hand does not say which cluster it leads to.
    let possible = links.iter().filter(|link| link.cluster_uid().is_none_or(|uid| Some(uid) == source_uid));
    possible.map(|link| link.cluster_name.clone()).chain([source.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::ServiceAccountImportSpec;
    use mcsa_credentials::contract::CLUSTER_UID;
    use rstest::rstest;

    fn import(source: &str, account: &str) -> ServiceAccountImport {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            namespace: "batch".into(),
            name: account.into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new("a", spec);
        import.metadata.namespace = Some("team-a".into());
        import
    }

    fn link(source: &str, known_as: &str, uid: &str) -> ExistingLink {
        let mut import = import(source, known_as);
        import
            .annotations_mut()
            .extend(Some((CLUSTER_UID.to_owned(), uid.to_owned())).filter(|_| !uid.is_empty()));
        ExistingLink { cluster_name: source.into(), import: Some(import), secret: None }
    }

    fn launch() -> Launch {
        Launch {
            target: "c1".into(),
            source: "c2".into(),
            namespace: "team-a".into(),
            remote_namespace: "batch".into(),
            ..Default::default()
        }
    }

    #[rstest]
    #[case::linked(&[link("c2", "c1", "two")], &[import("c2", "launcher-c1")], None)]
    #[case::linked_as_another(&[link("prod", "c1", "two")], &[import("prod", "launcher-c1")],
        Some(Problem::SourceName("prod".into())))]
    #[case::other_target_name(&[link("c2", "west", "two")], &[import("c2", "launcher-west")],
        Some(Problem::TargetName("west".into())))]
    #[case::other_cluster(&[link("c2", "c1", "three")], &[], Some(Problem::OtherCluster("three".into())))]
    #[case::unlinked(&[link("c3", "c1", "three")], &[import("c2", "launcher-c1")], None)]
    #[case::unlinked_with_another_target_name(&[], &[import("c2", "launcher-west")],
        Some(Problem::TargetName("west".into())))]
    #[case::unknown(&[link("by-hand", "c1", "")], &[import("c3", "launcher-c1")],
        Some(Problem::Unknown(vec!["by-hand".into(), "c3".into()])))]
    #[case::nothing_is_left(&[], &[], None)]
    fn names_must_be_those_of_the_link(
        #[case] links: &[ExistingLink],
        #[case] imports: &[ServiceAccountImport],
        #[case] expected: Option<Problem>,
    ) {
        assert_eq!(problem(links, imports, &launch(), Some("two")), expected);
    }

    #[test]
    fn error_has_the_command_with_the_right_name() {
        let flags = Flags {
            source: SourceFlags { context: Some("c2".into()), ..Default::default() },
            ..Default::default()
        };
        let links = [link("prod", "c1", "two")];
        let known = ensure_known(&links, &[], &launch(), Some("two"), &flags, "team-a --stop");
        let error = known.unwrap_err().to_string();
        let command = "run: kubemcsa launch team-a --stop --source-context c2 --source-name prod";
        assert!(error.ends_with(command), "{error}");
    }

    #[test]
    fn all_links_that_may_lead_to_the_source_count() {
        let links = [
            link("c2", "c1", "two"),
            link("prod", "c1", "two"),
            link("c3", "c1", "three"),
            link("x", "c1", ""),
        ];
        let expected: BTreeSet<_> = ["c2", "prod", "x"].map(str::to_owned).into();
        assert_eq!(aliases(&links, "c2", Some("two")), expected);
        assert_eq!(aliases(&links, "c2", None), expected);
    }
}
