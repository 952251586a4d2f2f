//! Where everything stands.
//!
//! Boxes stand in three columns, and lines run only between columns: none can run through a box.

use super::columns;
use super::geometry::{
    AVENUE, FOOT, HEAD, HOLDER_WIDTH, IDENTITY_WIDTH, IMPORT_WIDTH, Label, Layout, MARGIN, PADDING, Rect,
    STREET,
};
use super::order::order;
use crate::commands::graph::model::Graph;

/// Where everything stands.
pub fn layout(graph: &Graph) -> Layout {
    let order = order(graph);
    let has_holders = !graph.holders.is_empty();
    let imports_x = MARGIN + PADDING + if has_holders { HOLDER_WIDTH + STREET } else { 0.0 };
    let targets_right = imports_x + IMPORT_WIDTH + PADDING;
    let identities_x = targets_right + AVENUE + PADDING;
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
        layout.columns.push(heading("Pods that hold it", MARGIN + PADDING, HOLDER_WIDTH));
    }
    let imports = if graph.imports.is_empty() { "There are no imports" } else { "Import" };
    layout.columns.push(heading(imports, imports_x, IMPORT_WIDTH));
    layout.columns.push(heading("Service account, and what it may do", identities_x, IDENTITY_WIDTH));

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
        for (place, rect) in rects.iter().enumerate() {
            for other in &rects[place + 1..] {
                assert!(!overlap(rect, other), "{rect:?} and {other:?}");
            }
        }
    }

    /// Without holders, with nothing, and with sources that are taller than the targets, too.
    fn graphs() -> Vec<Graph> {
        let mut bare = large();
        bare.holders.clear();
        bare.imports.iter_mut().for_each(|import| import.holders.clear());
        let mut tall = small();
        tall.identities[0].rights = (0..20).map(|it| format!("a{it}: get pods")).collect();
        vec![Graph::default(), small(), large(), bare, tall]
    }

    #[test]
    fn nothing_is_outside_or_in_the_way() {
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
    fn each_is_in_its_cluster() {
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
    fn columns_leave_streets_for_the_lines() {
        let layout = layout(&large());
        let right = |rects: &[Rect]| rects.iter().map(Rect::right).fold(0.0, f64::max);
        let left = |rects: &[Rect]| rects.iter().map(|it| it.x).fold(f64::INFINITY, f64::min);
        assert!(right(&layout.holders) + 40.0 < left(&layout.imports));
        assert!(right(&layout.targets) + 100.0 < left(&layout.sources));
    }
}
