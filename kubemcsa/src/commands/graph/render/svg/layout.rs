//! Places everything: boxes in three columns, and edges only between columns, so that no edge crosses a box.

use super::columns;
use super::geometry::{
    FOOT, HEAD, HOLDER_EDGES, HOLDER_WIDTH, IDENTITY_EDGES, IDENTITY_WIDTH, IMPORT_WIDTH, Label, Layout,
    MARGIN, PADDING, Rect,
};
use super::order::order;
use crate::commands::graph::model::Graph;

pub(crate) fn layout(graph: &Graph) -> Layout {
    let order = order(graph);
    let has_holders = !graph.holders.is_empty();
    let imports_x = MARGIN + PADDING + if has_holders { HOLDER_WIDTH + HOLDER_EDGES } else { 0.0 };
    let targets_right = imports_x + IMPORT_WIDTH + PADDING;
    let identities_x = targets_right + IDENTITY_EDGES + PADDING;
    let mut layout = Layout {
        width: identities_x + IDENTITY_WIDTH + PADDING + MARGIN,
        holders: vec![Rect::default(); graph.holders.len()],
        imports: vec![Rect::default(); graph.imports.len()],
        identities: vec![Rect::default(); graph.identities.len()],
        ..Default::default()
    };
    let heading = |text: &str, x: f64, width: f64| Label {
        text: text.into(),
        room: Rect { x, y: MARGIN, width, height: HEAD - 8.0 },
    };
    if has_holders {
        layout.columns.push(heading("Pods", MARGIN + PADDING, HOLDER_WIDTH));
    }
    let imports = if graph.imports.is_empty() { "No imports" } else { "Import" };
    layout.columns.push(heading(imports, imports_x, IMPORT_WIDTH));
    layout.columns.push(heading("Service account and its permissions", identities_x, IDENTITY_WIDTH));

    columns::targets(graph, &order, &mut layout, imports_x, targets_right);
    columns::sources(graph, &mut layout, identities_x);

    let bottom = layout.targets.iter().chain(&layout.sources).map(Rect::bottom).fold(MARGIN + HEAD, f64::max);
    layout.legend = bottom + 18.0;
    layout.height = bottom + FOOT + MARGIN;
    layout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::examples::{large, small};

    fn overlap(a: &Rect, b: &Rect) -> bool {
        a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
    }

    fn inside(outer: &Rect, inner: &Rect) -> bool {
        outer.x <= inner.x
            && inner.right() <= outer.right()
            && outer.y <= inner.y
            && inner.bottom() <= outer.bottom()
    }

    fn none_overlap(rects: &[&Rect]) {
        for (index, rect) in rects.iter().enumerate() {
            for other in &rects[index + 1..] {
                assert!(!overlap(rect, other), "{rect:?} and {other:?}");
            }
        }
    }

    /// Includes an empty graph, one without holders, and one whose source is taller than the target.
    fn graphs() -> Vec<Graph> {
        let mut bare = large();
        bare.holders.clear();
        bare.imports.iter_mut().for_each(|import| import.holders.clear());
        let mut tall = small();
        tall.identities[0].rights = (0..20).map(|it| format!("a{it}: get pods")).collect();
        vec![Graph::default(), small(), large(), bare, tall]
    }

    #[test]
    fn boxes_and_titles_are_inside_and_do_not_overlap() {
        for graph in graphs() {
            let layout = layout(&graph);
            let canvas = Rect { x: 0.0, y: 0.0, width: layout.width, height: layout.height };
            let labels = layout.namespaces.iter().chain(&layout.columns).map(|label| &label.room);
            let boxes = layout.holders.iter().chain(&layout.imports).chain(&layout.identities);
            let small: Vec<_> = boxes.chain(labels).collect();
            assert!(small.iter().all(|rect| inside(&canvas, rect) && rect.height > 0.0));
            none_overlap(&small);
            let clusters: Vec<_> = layout.targets.iter().chain(&layout.sources).collect();
            none_overlap(&clusters);
            assert!(clusters.iter().all(|rect| inside(&canvas, rect) && rect.bottom() < layout.legend));
        }
    }

    #[test]
    fn boxes_are_in_the_frame_of_their_cluster() {
        for graph in graphs() {
            let layout = layout(&graph);
            for (it, rect) in graph.holders.iter().zip(&layout.holders) {
                assert!(inside(&layout.targets[it.target], rect));
            }
            for (it, rect) in graph.imports.iter().zip(&layout.imports) {
                assert!(inside(&layout.targets[it.target], rect));
            }
            for (it, rect) in graph.identities.iter().zip(&layout.identities) {
                assert!(inside(&layout.sources[it.source], rect));
            }
        }
    }

    #[test]
    fn columns_leave_gaps_for_edges() {
        let layout = layout(&large());
        let right = |rects: &[Rect]| rects.iter().map(Rect::right).fold(0.0, f64::max);
        let left = |rects: &[Rect]| rects.iter().map(|it| it.x).fold(f64::INFINITY, f64::min);
        assert!(right(&layout.holders) + 40.0 < left(&layout.imports));
        assert!(right(&layout.targets) + 100.0 < left(&layout.sources));
    }
}
