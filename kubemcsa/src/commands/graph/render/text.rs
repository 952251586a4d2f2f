//! A tree for each target. Colours are removed unless stdout is a terminal.

use anstyle::{AnsiColor, Style};

use super::{MARK, NOT_PERMITTED, identity_lines, is_marked, namespaces, no_holders, program, title};
use crate::commands::graph::model::{Graph, Import};

const CLUSTER: Style = AnsiColor::Cyan.on_default().bold();
const MARKED: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

struct Node {
    line: String,
    children: Vec<Node>,
}

pub(crate) fn render(graph: &Graph) -> String {
    let mut text = String::new();
    for (index, target) in graph.targets.iter().enumerate() {
        text.push_str(&format!("{}\n", styled(CLUSTER, &target.name)));
        let namespaces = namespaces(graph, index).into_iter().map(|(name, imports, _)| Node {
            line: plain(name),
            children: imports.into_iter().map(|it| import(graph, &graph.imports[it])).collect(),
        });
        draw(&namespaces.collect::<Vec<_>>(), "", &mut text);
    }
    text
}

fn import(graph: &Graph, import: &Import) -> Node {
    let holders = import.holders.iter().map(|it| graph.holders[*it].title());
    let holders = program(import).map(str::to_owned).into_iter().chain(holders);
    let mut children: Vec<_> = holders.map(|it| leaf(format!("held by {}", plain(&it)))).collect();
    if children.is_empty() {
        children.push(leaf(styled(FAINT, no_holders(graph, import))));
    }
    children.extend(import.may_import.iter().flatten().map(|line| leaf(plain(line))));
    children.push(identity(graph, import));
    let not_ready =
        import.not_ready.as_ref().map(|it| styled(FAINT, &format!("  not ready: {it}"))).unwrap_or_default();
    let mark = match is_marked(graph, import) {
        true => format!("  {}", styled(MARKED, &format!("! {MARK}"))),
        false => String::new(),
    };
    let not_permitted = match import.not_permitted {
        true => format!("  {}", styled(MARKED, &format!("! {NOT_PERMITTED}"))),
        false => String::new(),
    };
    Node { line: format!("{}{mark}{not_permitted}{not_ready}", plain(&title(import))), children }
}

fn identity(graph: &Graph, import: &Import) -> Node {
    let identity = &graph.identities[import.identity];
    let source = styled(CLUSTER, &graph.sources[identity.source].name);
    let name = plain(&format!("{}/{}", identity.namespace, identity.name));
    let lines = identity_lines(graph, identity);
    let marks = identity.admin.iter().map(|reason| leaf(styled(MARKED, &format!("! it can {reason}"))));
    let rights = lines.rights.iter().map(|line| leaf(plain(line)));
    Node { line: format!("service account {name} in {source}"), children: marks.chain(rights).collect() }
}

fn leaf(line: String) -> Node {
    Node { line, children: Vec::new() }
}

fn draw(nodes: &[Node], indent: &str, text: &mut String) {
    for (index, node) in nodes.iter().enumerate() {
        let is_last = index + 1 == nodes.len();
        let (branch, further) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.push_str(&format!("{indent}{branch}{}\n", node.line));
        draw(&node.children, &format!("{indent}{further}"), text);
    }
}

/// Objects of a cluster can't add lines or colours.
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

    fn rendered(graph: &Graph) -> String {
        anstream::adapter::strip_str(&render(graph)).to_string()
    }

    #[test]
    fn tree_of_one_import() {
        assert_eq!(
            rendered(&small()),
            "c1
└─ default
   └─ import c2-pod-lister
      ├─ held by 3 pods of deployment web
      └─ service account default/pod-lister in c2
         └─ default: get, list pods
"
        );
    }

    #[test]
    fn marks_and_unknown_permissions_are_shown() {
        let mut graph = small();
        graph.imports[0].is_link = true;
        graph.imports[0].holders.clear();
        graph.imports[0].not_ready = Some("Expired\n".into());
        graph.identities[0].admin = vec!["do everything".into()];
        graph.sources[0].unread = Some("roles could not be listed".into());
        assert_eq!(
            rendered(&graph),
            "c1
└─ default
   └─ link c2-pod-lister  ! could become cluster-admin  not ready: Expired \n      ├─ held by the importer
      └─ service account default/pod-lister in c2
         ├─ ! it can do everything
         └─ permissions unknown: roles could not be listed
"
        );
    }

    #[test]
    fn permissions_by_policies_are_shown() {
        let mut graph = small();
        graph.imports[0].not_permitted = true;
        let text = rendered(&graph);
        assert!(text.contains("import c2-pod-lister  ! no ImportPolicy permits it\n"), "{text}");
        graph.imports[0].is_link = true;
        graph.imports[0].may_import = Some(vec!["namespace shop may import default".into()]);
        let text = rendered(&graph);
        assert!(text.contains("├─ namespace shop may import default\n"), "{text}");
    }

    #[test]
    fn launch_import_is_held_by_the_launcher() {
        let mut graph = small();
        graph.imports[0].is_launch = true;
        graph.imports[0].holders.clear();
        let text = rendered(&graph);
        assert!(text.contains("held by the launcher") && !text.contains("held by no pod"), "{text}");
    }

    #[test]
    fn each_import_is_shown() {
        let text = rendered(&large());
        assert_eq!(text.lines().filter(|line| line.contains("─ service account ")).count(), 21);
    }
}
