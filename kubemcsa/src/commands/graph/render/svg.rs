//! An SVG image: columns of workloads, imports and identities, in frames for their clusters.
//!
//! order → columns → layout → draw

mod columns;
mod draw;
mod geometry;
mod identity_lines;
mod layout;
mod order;
mod pack;
mod style;
mod text;

use crate::commands::graph::model::Graph;

pub(crate) fn render(graph: &Graph) -> String {
    draw::draw(graph, &layout::layout(graph))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::examples::{large, small};

    /// Whether tags are balanced and attributes quoted, which is enough for the XML that we write.
    fn is_xml(text: &str) -> bool {
        let mut open = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((tag, next)) = after.split_once('>') else { return false };
            let name = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
            if before.contains('>') || tag.matches('"').count() % 2 == 1 {
                return false;
            }
            match tag.strip_prefix('/') {
                Some(name) if open.pop().as_deref() != Some(name) => return false,
                Some(_) => {}
                None if tag.ends_with('/') => {}
                None => open.push(name(tag)),
            }
            rest = next;
        }
        open.is_empty() && !rest.contains('>')
    }

    #[test]
    fn any_name_gives_valid_xml() {
        let mut graph = small();
        for name in ["<b>&\"'", "</svg><script>alert(1)</script>", "a\nb\u{0}", "\u{ffff}]]>", "日本語"] {
            graph.targets[0].name = name.into();
            graph.sources[0].name = name.into();
            graph.holders[0].name = name.into();
            graph.imports[0].name = name.into();
            graph.identities[0].name = name.into();
            graph.identities[0].rights = vec![name.into()];
            let svg = render(&graph);
            assert!(is_xml(&svg), "{svg}");
            assert!(!svg.contains("<script") && !svg.contains('\u{0}'), "{svg}");
        }
        for graph in [Graph::default(), small(), large()] {
            assert!(is_xml(&render(&graph)));
        }
    }

    #[test]
    fn image_has_no_scripts_and_no_references() {
        let svg = render(&large()).replace("http://www.w3.org/2000/svg", "");
        for reference in ["http", "href", "url(", "@import", "<script", "<image", "<foreignObject"] {
            assert!(!svg.contains(reference), "{reference}");
        }
    }

    #[test]
    fn equal_graphs_give_equal_images() {
        assert_eq!(render(&large()), render(&large()));
    }
}
