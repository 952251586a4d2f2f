//! First step: ensures that the clusters are linked, under the names that the flags give them.

use anyhow::bail;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;

use crate::link::connect::Connected;
use crate::link::existing::{self, ExistingLink};
use crate::link::flags::{Flags, SourceFlags};
use crate::link::{known_targets, launcher};

/// Two clusters that are linked.
pub(crate) struct Linked(Connected);

impl std::ops::Deref for Linked {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.0
    }
}

pub(crate) async fn ensure_linked(connected: Connected) -> anyhow::Result<Linked> {
    let (target, source) = (connected.target(), connected.source());
    if let Some(problem) = launcher::name_problem(&target.name) {
        bail!("{}: {problem}", target.name);
    }
    let flags = connected.plan().flags();
    if let Some(problem) = launcher::source_name_problem(&source.name) {
        let unnamed = SourceFlags { name: None, ..flags.source.clone() };
        let bootstrap =
            Flags { source: unnamed, ..flags.clone() }.other_command("bootstrap", "--source-name NAME");
        bail!("{}: {problem}: {bootstrap}", target.name);
    }
    let (links, known_uid) = tokio::join!(existing::list(target), known_targets::uid(source, &target.name));
    let names = Names {
        target: &target.name,
        target_uid: connected.target_uid(),
        source: &source.name,
        source_uid: connected.source_uid(),
    };
    match problem(&links?, known_uid?.as_deref(), &names) {
        None => Ok(Linked(connected)),
        Some(Problem::NotLinked(message)) => {
            bail!("{}: {message}: {}", target.name, flags.other_command("bootstrap", ""))
        }
        Some(Problem::WrongName(message)) => bail!("{}: {message}", target.name),
    }
}

/// Names and UIDs of the two clusters.
struct Names<'a> {
    target: &'a str,
    target_uid: &'a str,
    source: &'a str,
    source_uid: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// Bootstrap links the clusters.
    NotLinked(String),
    /// Another flag is needed.
    WrongName(String),
}

/// `known_uid`: the UID of the target with this name that the source knows.
fn problem(links: &[ExistingLink], known_uid: Option<&str>, names: &Names<'_>) -> Option<Problem> {
    let Names { target, target_uid, source, source_uid } = *names;
    let Some(link) = links.iter().find(|link| link.cluster_name == source) else {
        let linked: Vec<_> = links.iter().map(|link| link.cluster_name.as_str()).collect();
        let hint = match linked.as_slice() {
            [] => String::new(),
            linked => format!(" (but to {}, which --source-name selects)", linked.join(", ")),
        };
        return Some(Problem::NotLinked(format!("not linked to {source}{hint}; link it first")));
    };
    if let Some((_, known)) = link.identity()
        && known != target
    {
        return Some(Problem::WrongName(format!(
            "{source} knows this target as {known}, not as {target}; use --target-name {known}"
        )));
    }
    if let Some(uid) = link.cluster_uid()
        && uid != source_uid
    {
        return Some(Problem::WrongName(format!(
            "link {source} is for another cluster of that name, with UID {uid} instead of {source_uid}; choose that \
             cluster's context with --source-context"
        )));
    }
    match known_uid {
        Some(uid) if uid == target_uid => None,
        Some(uid) => Some(Problem::WrongName(format!(
            "in {source}, service account {SYSTEM_NAMESPACE}/{target} belongs to another target of that name, with UID \
             {uid} instead of {target_uid}; choose a target with --target-name"
        ))),
        None => Some(Problem::NotLinked(format!(
            "{source} has no identity of this target any more; link it again, with --allow for what it may import"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use mcsa_credentials::contract::CLUSTER_UID;
    use rstest::rstest;

    fn link(source: &str, known_as: &str, uid: &str) -> ExistingLink {
        let spec = ServiceAccountImportSpec {
            cluster_name: source.into(),
            name: known_as.into(),
            ..Default::default()
        };
        let mut import = ServiceAccountImport::new(source, spec);
        import.annotations_mut().insert(CLUSTER_UID.into(), uid.into());
        ExistingLink { cluster_name: source.into(), import: Some(import), secret: None }
    }

    #[rstest]
    #[case::linked(&[link("c2", "c1", "two")], Some("one"), None)]
    #[case::not_linked(&[], None, Some("not linked to c2; link it first"))]
    #[case::linked_to_another(&[link("c3", "c1", "two")], None, Some("not linked to c2 (but to c3, which --source-name selects)"))]
    #[case::other_target_name(&[link("c2", "west", "two")], None, Some("use --target-name west"))]
    #[case::other_source(&[link("c2", "c1", "three")], Some("one"), Some("with UID three instead of two"))]
    #[case::other_target(&[link("c2", "c1", "two")], Some("four"), Some("with UID four instead of one"))]
    #[case::unlinked_in_the_source(&[link("c2", "c1", "two")], None, Some("has no identity of this target"))]
    fn clusters_must_be_linked_under_these_names(
        #[case] links: &[ExistingLink],
        #[case] known_uid: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let names = Names { target: "c1", target_uid: "one", source: "c2", source_uid: "two" };
        let problem = problem(links, known_uid, &names).map(|problem| match problem {
            Problem::NotLinked(message) | Problem::WrongName(message) => message,
        });
        match (problem, expected) {
            (None, None) => {}
            (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{problem}"),
            (problem, _) => panic!("{problem:?}"),
        }
    }
}
