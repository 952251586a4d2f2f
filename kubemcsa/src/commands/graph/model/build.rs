//! What was seen, resolved and read, put together.

use std::collections::BTreeMap;

use super::{Graph, Holder, Identity, Import, SourceCluster, Target};
use crate::commands::graph::holders::{self, Owner};
use crate::commands::graph::resolve::{Resolved, Source, Why};
use crate::commands::graph::roles::Roles;
use crate::commands::graph::view::View;
use crate::commands::graph::{admin, rights, rules};

/// The roles of each source that was looked at, by its UID, or why they could not be read.
pub type AllRoles = BTreeMap<String, Result<Roles, String>>;

/// The graph of these clusters. Those without imports are no targets.
pub fn build(views: &[&View], resolved: &[Resolved<'_>], roles: &AllRoles) -> Graph {
    let (sources, place_of_source) = sources(views, resolved, roles);
    let (targets, place_of_target) = targets(views);
    let mut graph = Graph { sources, targets, ..Default::default() };
    let mut identities = BTreeMap::new();
    let mut holders: BTreeMap<(usize, String, Owner), usize> = BTreeMap::new();
    for Resolved { target, import, source } in resolved {
        let view = views[*target];
        let target = place_of_target[target];
        let identity = *identities.entry((source, &import.account)).or_insert_with(|| {
            graph.identities.push(identity(place_of_source[source], &import.account, source, roles));
            graph.identities.len() - 1
        });
        let pods = view.pods.as_deref().unwrap_or_default();
        let held = holders::count(pods, &view.parents, &import.namespace, &import.name, &import.secret);
        let mut held_by = Vec::new();
        for (owner, pods) in held {
            let name = owner.title();
            let place = *holders.entry((target, import.namespace.clone(), owner)).or_insert_with(|| {
                let namespace = import.namespace.clone();
                graph.holders.push(Holder { target, namespace, name, pods: 0 });
                graph.holders.len() - 1
            });
            // Not each pod of a holder need hold each of its imports.
            graph.holders[place].pods = graph.holders[place].pods.max(pods);
            held_by.push(place);
        }
        graph.imports.push(Import {
            target,
            namespace: import.namespace.clone(),
            name: import.name.clone(),
            is_link: import.is_link,
            amiss: import.amiss.clone(),
            holders: held_by,
            identity,
        });
    }
    graph
}

fn targets(views: &[&View]) -> (Vec<Target>, BTreeMap<usize, usize>) {
    let busy: Vec<_> = views.iter().enumerate().filter(|(_, view)| !view.imports.is_empty()).collect();
    let named = busy.iter().map(|(_, view)| (view.name.clone(), view.uid.clone().unwrap_or_default()));
    let targets = apart(&named.collect::<Vec<_>>()).into_iter().zip(&busy);
    let targets = targets.map(|(name, (_, view))| Target { name, pods_read: view.pods.is_some() });
    let places = busy.iter().enumerate().map(|(place, (view, _))| (*view, place));
    (targets.collect(), places.collect())
}

fn sources<'a>(
    views: &[&View],
    resolved: &'a [Resolved<'_>],
    roles: &AllRoles,
) -> (Vec<SourceCluster>, BTreeMap<&'a Source, usize>) {
    let mut found: BTreeMap<&Source, String> = BTreeMap::new();
    for it in resolved {
        let known = views.iter().find(|view| it.source.is(view)).map(|view| &view.name);
        found.entry(&it.source).or_insert_with(|| known.unwrap_or(&it.import.cluster_name).clone());
    }
    let named: Vec<_> = found.iter().map(|(source, name)| (name.clone(), told_apart_by(source))).collect();
    let mut all: Vec<_> = apart(&named).into_iter().zip(found.into_keys()).collect();
    all.sort();
    let places = all.iter().enumerate().map(|(place, (_, source))| (*source, place)).collect();
    let clusters =
        all.into_iter().map(|(name, source)| SourceCluster { name, unread: unread(source, roles) });
    (clusters.collect(), places)
}

fn unread(source: &Source, roles: &AllRoles) -> Option<String> {
    match source {
        Source::Pinned { uid } => match roles.get(uid) {
            Some(Ok(_)) => None,
            Some(Err(problem)) => Some(problem.clone()),
            None => Some("add --context to look there".into()),
        },
        Source::Called { name, why, .. } => Some(match why {
            Why::Unlinked => format!("there is no link to {name}"),
            Why::Unpinned => format!("the link to {name} does not say which cluster it is for"),
            Why::Unread => "the links may not be read, so it is not known which cluster that is".into(),
        }),
    }
}

fn identity(source: usize, account: &(String, String), key: &Source, roles: &AllRoles) -> Identity {
    let (namespace, name) = account.clone();
    let mut identity = Identity { source, namespace, name, ..Default::default() };
    if let Source::Pinned { uid } = key
        && let Some(Ok(roles)) = roles.get(uid)
    {
        let grants = rules::granted(roles, &identity.namespace, &identity.name);
        (identity.rights, identity.admin) = (rights::sentences(&grants), admin::reasons(&grants));
    }
    identity
}

/// What a source has that no other of its name has.
fn told_apart_by(source: &Source) -> String {
    match source {
        Source::Pinned { uid } => uid.clone(),
        Source::Called { target, .. } => format!("of target {}", target + 1),
    }
}

/// Names that are not unique, with what tells them apart: of a UID, the beginning.
fn apart(named: &[(String, String)]) -> Vec<String> {
    let is_unique = |name: &str| named.iter().filter(|(other, _)| other == name).count() == 1;
    let short = |text: &str| text.split('-').next().unwrap_or_default().to_owned();
    let each = named.iter().map(|(name, more)| match is_unique(name) {
        true => name.clone(),
        false => format!("{name} ({})", short(more)),
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::graph::holders::Seen;
    use crate::commands::graph::resolve::resolve;
    use crate::commands::graph::view::{ImportSeen, LinkSeen};
    use rstest::rstest;

    #[rstest]
    #[case(&[("c1", "aa-1"), ("c2", "bb-1")], &["c1", "c2"])]
    #[case(&[("c1", "aa-1"), ("c1", "bb-1")], &["c1 (aa)", "c1 (bb)"])]
    fn names(#[case] named: &[(&str, &str)], #[case] expected: &[&str]) {
        let named: Vec<_> = named.iter().map(|(name, uid)| ((*name).into(), (*uid).into())).collect();
        assert_eq!(apart(&named), expected);
    }

    /// A cluster with an import of c2's `a/b` and one of c3's, both held by the same pods.
    fn target(uid: &str) -> View {
        let import = |name: &str, source: &str| ImportSeen {
            namespace: "n".into(),
            name: name.into(),
            secret: format!("{name}-token"),
            cluster_name: source.into(),
            account: ("a".into(), "b".into()),
            ..Default::default()
        };
        let pod = |imports: &[&str]| Seen {
            namespace: "n".into(),
            owner: Owner { kind: "StatefulSet".into(), name: "db".into() },
            secrets: BTreeSet::new(),
            imports: imports.iter().map(|it| (*it).to_owned()).collect(),
        };
        View {
            name: "c1".into(),
            uid: Some(uid.into()),
            links: Some(vec![LinkSeen { cluster_name: "c2".into(), uid: Some("22-2".into()) }]),
            imports: vec![import("two", "c2"), import("three", "c3")],
            pods: Some(vec![pod(&["two", "three"]), pod(&["three"])]),
            ..Default::default()
        }
    }

    #[test]
    fn targets_of_one_name_share_a_source_by_its_uid_and_no_other() {
        let source = View { name: "two".into(), uid: Some("22-2".into()), ..Default::default() };
        let (one, other) = (target("11-1"), target("12-1"));
        let views = [&one, &other, &source];
        let roles = [("22-2".to_owned(), Ok(Roles::default()))].into();
        let graph = build(&views, &resolve(&views), &roles);
        let targets: Vec<_> = graph.targets.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(targets, ["c1 (11)", "c1 (12)"]);
        let sources: Vec<_> = graph.sources.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(sources, ["c3 (of target 1)", "c3 (of target 2)", "two"]);
        let of = |import: usize| graph.identities[graph.imports[import].identity].source;
        assert_eq!([of(0), of(1), of(2), of(3)], [2, 0, 2, 1]);
        assert_eq!(graph.imports[0].identity, graph.imports[2].identity);
        let unread: Vec<_> = graph.sources.iter().map(|it| it.unread.as_deref()).collect();
        assert_eq!(unread, [Some("there is no link to c3"), Some("there is no link to c3"), None]);
    }

    #[test]
    fn a_holder_of_two_imports_is_one() {
        let one = target("11-1");
        let graph = build(&[&one], &resolve(&[&one]), &AllRoles::new());
        assert_eq!(graph.holders.len(), 1);
        assert_eq!((graph.holders[0].name.as_str(), graph.holders[0].pods), ("stateful set db", 2));
        assert!(graph.imports.iter().all(|import| import.holders == [0]));
    }

    #[test]
    fn what_may_not_be_read_is_not_taken_for_nothing() {
        let one = View { links: None, pods: None, ..target("11-1") };
        let graph = build(&[&one], &resolve(&[&one]), &AllRoles::new());
        assert!(!graph.targets[0].pods_read);
        assert!(graph.sources[0].unread.as_deref().unwrap().contains("links may not be read"));
    }
}
