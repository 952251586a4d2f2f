//! Builds the graph from what was read and resolved.

use std::collections::BTreeMap;

use super::{Graph, Holder, Identity, Import, SourceCluster, Target};
use crate::commands::graph::admin::PowerfulAccounts;
use crate::commands::graph::holders::{self, Owner};
use crate::commands::graph::resolve::{ResolvedImport, Source, Unidentified};
use crate::commands::graph::roles::Roles;
use crate::commands::graph::view::View;
use crate::commands::graph::{admin, powerful, rights, rules};

/// The roles of each source that was read, by its UID, or why they could not be read.
pub(crate) type AllRoles = BTreeMap<String, Result<Roles, String>>;

pub(crate) fn build(views: &[&View], resolved: &[ResolvedImport<'_>], roles: &AllRoles) -> Graph {
    let (sources, source_indexes) = sources(views, resolved, roles);
    let (targets, target_indexes) = targets(views);
    let mut graph = Graph { sources, targets, ..Default::default() };
    let read = roles.iter().filter_map(|(uid, roles)| Some((uid.as_str(), roles.as_ref().ok()?)));
    let sources_read: BTreeMap<_, _> =
        read.map(|(uid, roles)| (uid, SourceRights { roles, powerful: powerful::find(roles) })).collect();
    let mut identities = BTreeMap::new();
    let mut holders: BTreeMap<(usize, String, Owner), usize> = BTreeMap::new();
    for ResolvedImport { target, import, source } in resolved {
        let view = views[*target];
        let target = target_indexes[target];
        let identity = *identities.entry((source, &import.account)).or_insert_with(|| {
            let rights = match source {
                Source::Pinned { uid } => sources_read.get(uid.as_str()),
                Source::Unidentified { .. } => None,
            };
            graph.identities.push(identity(source_indexes[source], &import.account, rights));
            graph.identities.len() - 1
        });
        let pods = view.pods.as_deref().unwrap_or_default();
        let counts = holders::count(pods, &view.parents, &import.namespace, &import.name, &import.secret);
        let mut held_by = Vec::new();
        for (owner, pods) in counts {
            let name = owner.title();
            let index = *holders.entry((target, import.namespace.clone(), owner)).or_insert_with(|| {
                let namespace = import.namespace.clone();
                graph.holders.push(Holder { target, namespace, name, pods: 0 });
                graph.holders.len() - 1
            });
            // Pods of a workload may hold different imports.
            graph.holders[index].pods = graph.holders[index].pods.max(pods);
            held_by.push(index);
        }
        graph.imports.push(Import {
            target,
            namespace: import.namespace.clone(),
            name: import.name.clone(),
            is_link: import.is_link,
            is_launch: import.is_launch,
            not_ready: import.not_ready.clone(),
            not_permitted: import.not_permitted,
            may_import: import.may_import.clone(),
            holders: held_by,
            identity,
        });
    }
    graph
}

/// The clusters with imports, and their indexes by the index of the view.
fn targets(views: &[&View]) -> (Vec<Target>, BTreeMap<usize, usize>) {
    let with_imports: Vec<_> =
        views.iter().enumerate().filter(|(_, view)| !view.imports.is_empty()).collect();
    let named =
        with_imports.iter().map(|(_, view)| (view.name.clone(), view.uid.clone().unwrap_or_default()));
    let targets = unique_names(&named.collect::<Vec<_>>()).into_iter().zip(&with_imports);
    let targets = targets.map(|(name, (_, view))| Target { name, pods_read: view.pods.is_some() });
    let indexes = with_imports.iter().enumerate().map(|(index, (view, _))| (*view, index));
    (targets.collect(), indexes.collect())
}

fn sources<'a>(
    views: &[&View],
    resolved: &'a [ResolvedImport<'_>],
    roles: &AllRoles,
) -> (Vec<SourceCluster>, BTreeMap<&'a Source, usize>) {
    let mut found: BTreeMap<&Source, String> = BTreeMap::new();
    for it in resolved {
        let name = views.iter().find(|view| it.source.is(view)).map(|view| &view.name);
        found.entry(&it.source).or_insert_with(|| name.unwrap_or(&it.import.cluster_name).clone());
    }
    let named: Vec<_> = found.iter().map(|(source, name)| (name.clone(), distinction(source))).collect();
    let mut all: Vec<_> = unique_names(&named).into_iter().zip(found.into_keys()).collect();
    all.sort();
    let indexes = all.iter().enumerate().map(|(index, (_, source))| (*source, index)).collect();
    let clusters =
        all.into_iter().map(|(name, source)| SourceCluster { name, unread: unread(source, roles) });
    (clusters.collect(), indexes)
}

fn unread(source: &Source, roles: &AllRoles) -> Option<String> {
    match source {
        Source::Pinned { uid } => match roles.get(uid) {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(error.clone()),
            None => Some("add --context for this cluster".into()),
        },
        Source::Unidentified { name, reason, .. } => Some(match reason {
            Unidentified::NotLinked => format!("there is no link to {name}"),
            Unidentified::NotPinned => format!("the link to {name} has no cluster UID"),
            Unidentified::LinksUnreadable => {
                "links could not be listed, so this cluster can't be identified".into()
            }
        }),
    }
}

/// The RBAC of a source, and the service accounts that can become cluster-admin by it.
struct SourceRights<'a> {
    roles: &'a Roles,
    powerful: PowerfulAccounts,
}

fn identity(index: usize, account: &(String, String), source: Option<&SourceRights<'_>>) -> Identity {
    let (namespace, name) = account.clone();
    let mut identity = Identity { source: index, namespace, name, ..Default::default() };
    if let Some(SourceRights { roles, powerful }) = source {
        let grants = rules::granted(roles, &identity.namespace, &identity.name);
        let others = powerful::without(powerful, &identity.namespace, &identity.name);
        (identity.rights, identity.admin) = (rights::sentences(&grants), admin::reasons(&grants, &others));
    }
    identity
}

/// What distinguishes a source from others with the same name.
fn distinction(source: &Source) -> String {
    match source {
        Source::Pinned { uid } => uid.clone(),
        Source::Unidentified { target, .. } => format!("of target {}", target + 1),
    }
}

/// Adds the distinction to names that are not unique: the beginning of a UID.
fn unique_names(named: &[(String, String)]) -> Vec<String> {
    let is_unique = |name: &str| named.iter().filter(|(other, _)| other == name).count() == 1;
    let short = |text: &str| text.split('-').next().unwrap_or_default().to_owned();
    let all = named.iter().map(|(name, distinction)| match is_unique(name) {
        true => name.clone(),
        false => format!("{name} ({})", short(distinction)),
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::graph::holders::PodInfo;
    use crate::commands::graph::resolve::resolve;
    use crate::commands::graph::rules::tests::{binding, rule};
    use crate::commands::graph::view::{ImportInfo, LinkInfo};
    use rstest::rstest;

    #[rstest]
    #[case(&[("c1", "aa-1"), ("c2", "bb-1")], &["c1", "c2"])]
    #[case(&[("c1", "aa-1"), ("c1", "bb-1")], &["c1 (aa)", "c1 (bb)"])]
    fn equal_names_are_made_unique_by_uid(#[case] named: &[(&str, &str)], #[case] expected: &[&str]) {
        let named: Vec<_> = named.iter().map(|(name, uid)| ((*name).into(), (*uid).into())).collect();
        assert_eq!(unique_names(&named), expected);
    }

    /// A cluster with imports of `a/b` from c2 and c3, held by the same workload.
    fn target(uid: &str) -> View {
        let import = |name: &str, source: &str| ImportInfo {
            namespace: "n".into(),
            name: name.into(),
            secret: format!("{name}-token"),
            cluster_name: source.into(),
            account: ("a".into(), "b".into()),
            ..Default::default()
        };
        let pod = |imports: &[&str]| PodInfo {
            namespace: "n".into(),
            owner: Owner { kind: "StatefulSet".into(), name: "db".into() },
            secrets: BTreeSet::new(),
            imports: imports.iter().map(|it| (*it).to_owned()).collect(),
        };
        View {
            name: "c1".into(),
            uid: Some(uid.into()),
            links: Some(vec![LinkInfo { cluster_name: "c2".into(), uid: Some("22-2".into()) }]),
            imports: vec![import("two", "c2"), import("three", "c3")],
            pods: Some(vec![pod(&["two", "three"]), pod(&["three"])]),
            ..Default::default()
        }
    }

    #[test]
    fn targets_share_only_sources_with_the_same_uid() {
        let source = View { name: "two".into(), uid: Some("22-2".into()), ..Default::default() };
        let (one, other) = (target("11-1"), target("12-1"));
        let views = [&one, &other, &source];
        let roles = [("22-2".to_owned(), Ok(Roles::default()))].into();
        let graph = build(&views, &resolve(&views), &roles);
        let targets: Vec<_> = graph.targets.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(targets, ["c1 (11)", "c1 (12)"]);
        let sources: Vec<_> = graph.sources.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(sources, ["c3 (of target 1)", "c3 (of target 2)", "two"]);
        let source_of = |import: usize| graph.identities[graph.imports[import].identity].source;
        assert_eq!([source_of(0), source_of(1), source_of(2), source_of(3)], [2, 0, 2, 1]);
        assert_eq!(graph.imports[0].identity, graph.imports[2].identity);
        let unread: Vec<_> = graph.sources.iter().map(|it| it.unread.as_deref()).collect();
        assert_eq!(unread, [Some("there is no link to c3"), Some("there is no link to c3"), None]);
    }

    /// Service account a/b may mint tokens of an administrator, or only in its own namespace, which has none.
    #[rstest]
    #[case::of_an_administrator("admins", &["mint tokens of service accounts in admins, where service account boss could \
                                              become cluster-admin"])]
    #[case::of_its_own_namespace("a", &[])]
    fn identity_that_reaches_an_administrator_is_marked(#[case] mints_in: &str, #[case] expected: &[&str]) {
        let source = View { name: "two".into(), uid: Some("22-2".into()), ..Default::default() };
        let one = target("11-1");
        let account = |namespace, name| ("ServiceAccount", name, Some(namespace));
        let roles = Roles {
            cluster_roles: [
                ("cluster-admin".into(), vec![rule("* *.*")]),
                ("minter".into(), vec![rule("create serviceaccounts/token")]),
            ]
            .into(),
            bindings: vec![
                binding(None, ("ClusterRole", "cluster-admin"), account("admins", "boss")),
                binding(Some(mints_in), ("ClusterRole", "minter"), account("a", "b")),
            ],
            ..Default::default()
        };
        let views = [&one, &source];
        let graph = build(&views, &resolve(&views), &[("22-2".to_owned(), Ok(roles))].into());
        assert_eq!(graph.identities[graph.imports[0].identity].admin, expected);
    }

    #[test]
    fn workload_with_two_imports_is_one_holder() {
        let one = target("11-1");
        let graph = build(&[&one], &resolve(&[&one]), &AllRoles::new());
        assert_eq!(graph.holders.len(), 1);
        assert_eq!((graph.holders[0].name.as_str(), graph.holders[0].pods), ("stateful set db", 2));
        assert!(graph.imports.iter().all(|import| import.holders == [0]));
    }

    #[test]
    fn unreadable_links_and_pods_are_unknown() {
        let one = View { links: None, pods: None, ..target("11-1") };
        let graph = build(&[&one], &resolve(&[&one]), &AllRoles::new());
        assert!(!graph.targets[0].pods_read);
        assert!(graph.sources[0].unread.as_deref().unwrap().contains("links could not be listed"));
    }
}
