//! A tree for each target, with colours, which only a terminal sees.

use anstyle::{AnsiColor, Style};

use super::{IMPORTER, MARK, is_marked, lines, namespaces, nobody, title};
use crate::commands::graph::model::{Graph, Import};

const CLUSTER: Style = AnsiColor::Cyan.on_default().bold();
const MARKED: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

struct Node {
    line: String,
    below: Vec<Node>,
}

/// The trees.
pub fn render(graph: &Graph) -> String {
    let mut text = String::new();
    for (place, target) in graph.targets.iter().enumerate() {
        text.push_str(&format!("{}\n", styled(CLUSTER, &target.name)));
        let namespaces = namespaces(graph, place).into_iter().map(|(name, imports, _)| Node {
            line: plain(name),
            below: imports.into_iter().map(|it| import(graph, &graph.imports[it])).collect(),
        });
        draw(&namespaces.collect::<Vec<_>>(), "", &mut text);
    }
    text
}

fn import(graph: &Graph, import: &Import) -> Node {
    let held = import.holders.iter().map(|it| graph.holders[*it].title());
    let held = import.is_link.then(|| IMPORTER.to_owned()).into_iter().chain(held);
    let mut below: Vec<_> = held.map(|it| leaf(format!("held by {}", plain(&it)))).collect();
    if below.is_empty() {
        below.push(leaf(styled(FAINT, nobody(graph, import))));
    }
    below.push(identity(graph, import));
    let amiss =
        import.amiss.as_ref().map(|it| styled(FAINT, &format!("  not ready: {it}"))).unwrap_or_default();
    let mark = match is_marked(graph, import) {
        true => format!("  {}", styled(MARKED, &format!("! {MARK}"))),
        false => String::new(),
    };
    Node { line: format!("{}{mark}{amiss}", plain(&title(import))), below }
}

fn identity(graph: &Graph, import: &Import) -> Node {
    let identity = &graph.identities[import.identity];
    let source = styled(CLUSTER, &graph.sources[identity.source].name);
    let name = plain(&format!("{}/{}", identity.namespace, identity.name));
    let lines = lines(graph, identity);
    let because = identity.admin.iter().map(|why| leaf(styled(MARKED, &format!("! because it may {why}"))));
    let rights = lines.rights.iter().map(|line| leaf(plain(line)));
    Node { line: format!("is {name} in {source}"), below: because.chain(rights).collect() }
}

fn leaf(line: String) -> Node {
    Node { line, below: Vec::new() }
}

fn draw(nodes: &[Node], indent: &str, text: &mut String) {
    for (place, node) in nodes.iter().enumerate() {
        let is_last = place + 1 == nodes.len();
        let (branch, further) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&format!("{indent}{branch}{}\n", node.line));
        draw(&node.below, &format!("{indent}{further}"), text);
    }
}

/// Whatever is in an object, it is one line, and no colour of its own.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{}{style:#}", plain(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::examples::{large, small};

    fn seen(graph: &Graph) -> String {
        anstream::adapter::strip_str(&render(graph)).to_string()
    }

    #[test]
    fn one_import() {
        assert_eq!(
            seen(&small()),
            "c1
└─ default
   └─ import c2-pod-lister
      ├─ held by 3 pods of deployment web
      └─ is default/pod-lister in c2
         └─ default: get, list pods
"
        );
    }

    #[test]
    fn what_is_marked_and_what_is_not_read() {
        let mut graph = small();
        graph.imports[0].is_link = true;
        graph.imports[0].holders.clear();
        graph.imports[0].amiss = Some("Expired\n".into());
        graph.identities[0].admin = vec!["do everything".into()];
        graph.sources[0].unread = Some("add --context".into());
        assert_eq!(
            seen(&graph),
            "c1
└─ default
   └─ link c2-pod-lister  ! could reach cluster-admin  not ready: Expired \n      ├─ held by the importer
      └─ is default/pod-lister in c2
         ├─ ! because it may do everything
         └─ not read: add --context
"
        );
    }

    #[test]
    fn each_import_is_there() {
        let text = seen(&large());
        assert_eq!(text.lines().filter(|line| line.contains("is ") && line.contains(" in ")).count(), 21);
    }
}
