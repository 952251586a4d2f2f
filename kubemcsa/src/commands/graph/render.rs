//! Drawings of a graph: each a function of the model alone, and the same for the same graph.

pub mod dot;
pub mod mermaid;
pub mod svg;
pub mod text;

use super::model::{Graph, Identity, Import};

/// What is said of whoever could become cluster-admin.
const MARK: &str = "could reach cluster-admin";

/// Who holds an import that nobody mounts.
const IMPORTER: &str = "the importer";

/// What an identity may do, in lines: why it is marked, and then its rights, or why there are none.
struct Lines {
    marked: Vec<String>,
    rights: Vec<String>,
}

fn lines(graph: &Graph, identity: &Identity) -> Lines {
    let marked = identity.admin.iter().map(|reason| format!("{MARK}: it may {reason}")).collect();
    let rights = match &graph.sources[identity.source].unread {
        Some(why) => vec![format!("not read: {why}")],
        None if identity.rights.is_empty() => vec!["nothing is granted to it".to_owned()],
        None => identity.rights.clone(),
    };
    Lines { marked, rights }
}

/// An import, in lines.
fn import_lines(import: &Import) -> Vec<String> {
    let mut lines = vec![title(import)];
    lines.extend(import.is_link.then(|| format!("held by {IMPORTER}")));
    lines.extend(import.amiss.as_ref().map(|reason| format!("not ready: {reason}")));
    lines
}

/// An identity, in lines.
fn identity_lines(graph: &Graph, identity: &Identity) -> Vec<String> {
    let said = lines(graph, identity);
    let name = format!("{}/{}", identity.namespace, identity.name);
    [name].into_iter().chain(said.marked).chain(said.rights).collect()
}

/// What is said where no holder of an import is known.
fn nobody(graph: &Graph, import: &Import) -> &'static str {
    if graph.targets[import.target].pods_read { "held by no pod" } else { "who holds it is not read" }
}

/// What an import is called.
fn title(import: &Import) -> String {
    format!("{} {}", if import.is_link { "link" } else { "import" }, import.name)
}

/// Namespaces of a target, with its imports and those who hold them, by their places.
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
        (imports.map(|(place, _)| place).collect(), holders.map(|(place, _)| place).collect())
    };
    let all = names.into_iter().map(|name| {
        let (imports, holders) = within(name);
        (name, imports, holders)
    });
    all.collect()
}

/// The identities of a source, by their places.
fn identities(graph: &Graph, source: usize) -> impl Iterator<Item = usize> {
    graph.identities.iter().enumerate().filter(move |(_, it)| it.source == source).map(|(place, _)| place)
}

/// Whether who holds an import could become cluster-admin.
fn is_marked(graph: &Graph, import: &Import) -> bool {
    !graph.identities[import.identity].admin.is_empty()
}

/// Whether any import is marked.
fn has_marks(graph: &Graph) -> bool {
    graph.imports.iter().any(|import| is_marked(graph, import))
}
