//! Renders the graph. The output depends on the model only, and is the same for equal graphs.

pub(crate) mod dot;
pub(crate) mod mermaid;
pub(crate) mod svg;
pub(crate) mod text;

use super::model::{Graph, Identity, Import};

/// Label of an identity with ways to cluster-admin.
const MARK: &str = "could become cluster-admin";

/// Label of an import that needs an ImportPolicy.
const NOT_PERMITTED: &str = "no ImportPolicy permits it";

/// The program that holds an import, beside pods that mount it.
fn program(import: &Import) -> Option<&'static str> {
    match (import.is_link, import.is_launch) {
        (true, _) => Some("the importer"),
        (false, true) => Some("the launcher"),
        (false, false) => None,
    }
}

struct IdentityLines {
    /// Why the identity is marked.
    marks: Vec<String>,
    /// Its rights, or why there are none.
    rights: Vec<String>,
}

fn identity_lines(graph: &Graph, identity: &Identity) -> IdentityLines {
    let marks = identity.admin.iter().map(|reason| format!("{MARK}: it can {reason}")).collect();
    let rights = match &graph.sources[identity.source].unread {
        Some(reason) => vec![format!("permissions unknown: {reason}")],
        None if identity.rights.is_empty() => vec!["no permissions".to_owned()],
        None => identity.rights.clone(),
    };
    IdentityLines { marks, rights }
}

/// The label of an import's node.
fn import_label(import: &Import) -> Vec<String> {
    let mut lines = vec![title(import)];
    lines.extend(program(import).map(|program| format!("held by {program}")));
    lines.extend(import.not_permitted.then(|| NOT_PERMITTED.to_owned()));
    lines.extend(import.not_ready.as_ref().map(|reason| format!("not ready: {reason}")));
    lines
}

/// The label of an identity's node.
fn identity_label(graph: &Graph, identity: &Identity) -> Vec<String> {
    let lines = identity_lines(graph, identity);
    let name = format!("{}/{}", identity.namespace, identity.name);
    [name].into_iter().chain(lines.marks).chain(lines.rights).collect()
}

/// Describes an import without holders.
fn no_holders(graph: &Graph, import: &Import) -> &'static str {
    if graph.targets[import.target].pods_read { "held by no pod" } else { "holders unknown" }
}

fn title(import: &Import) -> String {
    format!("{} {}", if import.is_link { "link" } else { "import" }, import.name)
}

/// The namespaces of a target, each with the indexes of its imports and of its holders.
fn namespaces(graph: &Graph, target: usize) -> Vec<(&str, Vec<usize>, Vec<usize>)> {
    let mut names: Vec<_> =
        graph.imports.iter().filter(|it| it.target == target).map(|it| it.namespace.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let within = |name: &str| {
        let imports = graph.imports.iter().enumerate();
        let imports = imports.filter(|(_, it)| it.target == target && it.namespace == name);
        let holders = graph.holders.iter().enumerate();
        let holders = holders.filter(|(_, it)| it.target == target && it.namespace == name);
        (imports.map(|(index, _)| index).collect(), holders.map(|(index, _)| index).collect())
    };
    let all = names.into_iter().map(|name| {
        let (imports, holders) = within(name);
        (name, imports, holders)
    });
    all.collect()
}

/// The indexes of a source's identities.
fn identities(graph: &Graph, source: usize) -> impl Iterator<Item = usize> {
    graph.identities.iter().enumerate().filter(move |(_, it)| it.source == source).map(|(index, _)| index)
}

/// Whether the identity of an import has ways to cluster-admin.
fn is_marked(graph: &Graph, import: &Import) -> bool {
    !graph.identities[import.identity].admin.is_empty()
}

fn has_marks(graph: &Graph) -> bool {
    graph.imports.iter().any(|import| is_marked(graph, import))
}
