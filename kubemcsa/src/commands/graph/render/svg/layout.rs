//! Where everything stands.
//!
//! Boxes stand in three columns, and lines run only between columns: none can run through a box.

use super::columns;
use super::order::order;
use super::text::{bold, wrap};
use crate::commands::graph::model::{Graph, Identity};
use crate::commands::graph::render::{MARK, lines};

/// Around everything.
pub const MARGIN: f64 = 24.0;
/// The titles of the columns.
pub const HEAD: f64 = 34.0;
/// The legend.
const FOOT: f64 = 46.0;
/// Around what is in a cluster.
pub const PADDING: f64 = 16.0;
/// The title of a cluster.
pub const TITLE: f64 = 38.0;
/// The title of a namespace.
pub const SUBTITLE: f64 = 24.0;
/// Between boxes.
pub const GAP: f64 = 10.0;
/// Between namespaces.
pub const NAMESPACE_GAP: f64 = 12.0;
/// Between clusters.
pub const CLUSTER_GAP: f64 = 26.0;
/// Between the columns of a target.
const STREET: f64 = 56.0;
/// Between targets and sources.
const AVENUE: f64 = 132.0;

/// Of a holder's box.
pub const HOLDER_WIDTH: f64 = 230.0;
/// Of an import's box.
pub const IMPORT_WIDTH: f64 = 230.0;
/// Of an identity's box.
pub const IDENTITY_WIDTH: f64 = 380.0;
/// Of either of the former.
pub const SMALL_HEIGHT: f64 = 46.0;

/// The room of an identity's text.
pub const IDENTITY_TEXT: f64 = IDENTITY_WIDTH - 28.0;
/// The size of small letters.
pub const SMALL: f64 = 11.0;
/// What is above the lines of an identity.
pub const NAME: f64 = 30.0;
/// One line of an identity.
pub const LINE: f64 = 16.0;
/// At most so many lines of rights.
const MOST_RIGHTS: usize = 6;
/// At most so many lines of why it is marked.
const MOST_MARKS: usize = 4;

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Rect {
    /// Right.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Bottom.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Half way down.
    pub fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A title, with the room that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// What it says.
    pub text: String,
    /// Its room.
    pub room: Rect,
}

/// Where everything stands; boxes by their places in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Of the picture.
    pub width: f64,
    /// Of the picture.
    pub height: f64,
    /// Titles of columns.
    pub columns: Vec<Label>,
    /// Titles of namespaces.
    pub namespaces: Vec<Label>,
    /// Targets.
    pub targets: Vec<Rect>,
    /// Sources.
    pub sources: Vec<Rect>,
    /// Holders.
    pub holders: Vec<Rect>,
    /// Imports.
    pub imports: Vec<Rect>,
    /// Identities.
    pub identities: Vec<Rect>,
    /// Top of the legend.
    pub legend: f64,
}

/// The lines of an identity's box: why it is marked, and its rights, as many as there is room for.
pub fn shown(graph: &Graph, identity: &Identity) -> (Vec<String>, Vec<String>) {
    let rights = some(&lines(graph, identity).rights, MOST_RIGHTS, SMALL);
    if identity.admin.is_empty() {
        return (Vec::new(), rights);
    }
    let reasons: Vec<_> = identity.admin.iter().map(|reason| format!("it may {reason}")).collect();
    let heading = [format!("{MARK}, for")];
    (heading.into_iter().chain(some(&reasons, MOST_MARKS, bold(SMALL))).collect(), rights)
}

/// Sentences in lines, and, where these would be too many, how many sentences are left out.
fn some(sentences: &[String], most: usize, size: f64) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for (place, sentence) in sentences.iter().enumerate() {
        let more = sentences.len() - place;
        let mut lines = wrap(sentence, size, IDENTITY_TEXT);
        // The last line is kept for saying that there is more.
        let room = if more == 1 { most } else { most - 1 };
        if shown.is_empty() && lines.len() > room {
            // It is cut where it is drawn.
            let rest = lines.split_off(room - 1).join(" ");
            lines.push(rest);
        }
        if shown.len() + lines.len() > room {
            shown.push(format!("and {more} more"));
            break;
        }
        shown.extend(lines);
    }
    shown
}

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
    use rstest::rstest;

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

    #[rstest]
    #[case(&["a: get pods"], &["a: get pods"])]
    #[case(&["a: get pods", "b", "c"], &["a: get pods", "b", "c"])]
    #[case(&["a", "b", "c", "d"], &["a", "b", "and 2 more"])]
    #[case(&["a: b ccccccccccccccccccccccccccccccccccccccccccccccccc ddddddddddddddddddddddddddddddddddddddd", "b", "c"],
        &["a: b ccccccccccccccccccccccccccccccccccccccccccccccccc", "ddddddddddddddddddddddddddddddddddddddd", "and 2 more"])]
    fn as_many_lines_as_there_is_room_for(#[case] sentences: &[&str], #[case] expected: &[&str]) {
        let sentences: Vec<_> = sentences.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(some(&sentences, 3, SMALL), expected);
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
