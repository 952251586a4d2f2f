//! Input of Graphviz: <https://graphviz.org/doc/info/lang.html>

use super::{identities, identity_label, import_label, is_marked, namespaces};
use crate::commands::graph::model::Graph;

/// Attributes of marked nodes.
const MARKED: &str = ", color=\"#cf222e\", fillcolor=\"#ffebe9\", penwidth=2";

pub(crate) fn render(graph: &Graph) -> String {
    let mut text = String::from(
        "digraph imports {
  rankdir=LR;
  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"Helvetica\"];
  graph [style=\"rounded,filled\", fillcolor=\"#f6f8fa\", color=\"#d0d7de\", fontname=\"Helvetica\"];
",
    );
    for (index, target) in graph.targets.iter().enumerate() {
        text.push_str(&format!(
            "  subgraph cluster_target{index} {{\n    label={};\n",
            quoted(&[&target.name])
        ));
        for (number, (name, imports, holders)) in namespaces(graph, index).into_iter().enumerate() {
            text.push_str(&format!(
                "    subgraph cluster_target{index}_{number} {{\n      label={};\n",
                quoted(&[name])
            ));
            for it in holders {
                text.push_str(&format!(
                    "      holder{it} [label={}];\n",
                    quoted(&[&graph.holders[it].title()])
                ));
            }
            for it in imports {
                let import = &graph.imports[it];
                let label = import_label(import);
                let mark = if is_marked(graph, import) { MARKED } else { "" };
                text.push_str(&format!("      import{it} [label={}{mark}];\n", quoted(&label)));
            }
            text.push_str("    }\n");
        }
        text.push_str("  }\n");
    }
    for (index, source) in graph.sources.iter().enumerate() {
        text.push_str(&format!(
            "  subgraph cluster_source{index} {{\n    label={};\n",
            quoted(&[&source.name])
        ));
        for it in identities(graph, index) {
            let identity = &graph.identities[it];
            let label = identity_label(graph, identity);
            let mark = if identity.admin.is_empty() { "" } else { MARKED };
            text.push_str(&format!("    identity{it} [label={}{mark}];\n", quoted(&label)));
        }
        text.push_str("  }\n");
    }
    for (index, import) in graph.imports.iter().enumerate() {
        for holder in &import.holders {
            text.push_str(&format!("  holder{holder} -> import{index};\n"));
        }
        text.push_str(&format!("  import{index} -> identity{};\n", import.identity));
    }
    text.push_str("}\n");
    text
}

/// A quoted string of left-aligned lines. Backslashes are doubled, because they start escape sequences.
fn quoted(lines: &[impl AsRef<str>]) -> String {
    let escaped = |line: &str| -> String {
        line.chars()
            .map(|c| match c {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                c if c.is_control() => " ".to_owned(),
                c => c.to_string(),
            })
            .collect()
    };
    let lines: Vec<_> = lines.iter().map(|line| escaped(line.as_ref())).collect();
    match &lines[..] {
        [line] => format!("\"{line}\""),
        lines => format!("\"{}\\l\"", lines.join("\\l")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::examples::{large, small};
    use rstest::rstest;

    #[rstest]
    #[case(&["plain"], r#""plain""#)]
    #[case(&["a", "b"], r#""a\lb\l""#)]
    #[case(&[r#"a"; evil ["#], r#""a\"; evil [""#)]
    #[case(&[r"a\"], r#""a\\""#)]
    #[case(&["a\nb"], r#""a b""#)]
    #[case(&["ä<b>"], r#""ä<b>""#)]
    fn labels_are_escaped(#[case] lines: &[&str], #[case] expected: &str) {
        assert_eq!(quoted(lines), expected);
    }

    #[test]
    fn digraph_has_all_nodes_and_edges() {
        let text = render(&small());
        for line in ["holder0 -> import0;", "import0 -> identity0;", "label=\"3 pods of deployment web\""] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert_eq!(render(&large()), render(&large()));
        assert_eq!(render(&large()).matches(" -> identity").count(), 21);
        assert_eq!(render(&large()).matches('{').count(), render(&large()).matches('}').count());
    }
}
