//! A Mermaid flowchart: <https://mermaid.js.org/syntax/flowchart.html>

use super::{has_marks, identities, identity_label, import_label, is_marked, namespaces};
use crate::commands::graph::model::Graph;

pub(crate) fn render(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, target) in graph.targets.iter().enumerate() {
        text.push_str(&format!("  subgraph target{index}[{}]\n", quoted(&[&target.name])));
        for (number, (name, imports, holders)) in namespaces(graph, index).into_iter().enumerate() {
            text.push_str(&format!("    subgraph target{index}n{number}[{}]\n", quoted(&[name])));
            for it in holders {
                text.push_str(&format!("      holder{it}({})\n", quoted(&[&graph.holders[it].title()])));
            }
            for it in imports {
                let import = &graph.imports[it];
                let label = import_label(import);
                let mark = if is_marked(graph, import) { ":::marked" } else { "" };
                text.push_str(&format!("      import{it}[{}]{mark}\n", quoted(&label)));
            }
            text.push_str("    end\n");
        }
        text.push_str("  end\n");
    }
    for (index, source) in graph.sources.iter().enumerate() {
        text.push_str(&format!("  subgraph source{index}[{}]\n", quoted(&[&source.name])));
        for it in identities(graph, index) {
            let identity = &graph.identities[it];
            let label = identity_label(graph, identity);
            let mark = if identity.admin.is_empty() { "" } else { ":::marked" };
            text.push_str(&format!("    identity{it}[{}]{mark}\n", quoted(&label)));
        }
        text.push_str("  end\n");
    }
    for (index, import) in graph.imports.iter().enumerate() {
        for holder in &import.holders {
            text.push_str(&format!("  holder{holder} --> import{index}\n"));
        }
        text.push_str(&format!("  import{index} --> identity{}\n", import.identity));
    }
    if has_marks(graph) {
        text.push_str("  classDef marked fill:#ffebe9,stroke:#cf222e,color:#82071e,stroke-width:2px\n");
    }
    text
}

/// A quoted string of lines. Characters that Mermaid or HTML may interpret are written as entities.
fn quoted(lines: &[impl AsRef<str>]) -> String {
    let escaped = |line: &str| -> String {
        line.chars()
            .map(|c| match c {
                c if c.is_control() => " ".to_owned(),
                c if c.is_alphanumeric() || " -_./:,()".contains(c) => c.to_string(),
                c => format!("#{};", u32::from(c)),
            })
            .collect()
    };
    let lines: Vec<_> = lines.iter().map(|line| escaped(line.as_ref())).collect();
    format!("\"{}\"", lines.join("<br/>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::examples::{large, small};
    use rstest::rstest;

    #[rstest]
    #[case(&["plain (1)"], "\"plain (1)\"")]
    #[case(&["a", "b"], "\"a<br/>b\"")]
    #[case(&["a\"] --> b"], "\"a#34;#93; --#62; b\"")]
    #[case(&["<script>"], "\"#60;script#62;\"")]
    #[case(&["`a` #35; & *"], "\"#96;a#96; #35;35#59; #38; #42;\"")]
    #[case(&["a\nend"], "\"a end\"")]
    fn labels_are_escaped(#[case] lines: &[&str], #[case] expected: &str) {
        assert_eq!(quoted(lines), expected);
    }

    #[test]
    fn flowchart_has_all_nodes_and_edges() {
        let text = render(&small());
        for line in ["  holder0 --> import0\n", "  import0 --> identity0\n", "(\"3 pods of deployment web\")"]
        {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("marked"), "{text}");
        let text = render(&large());
        assert_eq!(text.matches(" --> identity").count(), 21);
        assert_eq!(
            text.matches("subgraph").count(),
            text.lines().filter(|line| line.trim() == "end").count()
        );
        assert_eq!(text.matches(":::marked").count(), 4);
    }
}
