//! Places the boxes of each column, and the frames of clusters around them.

use super::geometry::{
    CLUSTER_GAP, GAP, HEAD, HOLDER_WIDTH, IDENTITY_WIDTH, IMPORT_WIDTH, LINE, Label, Layout, MARGIN, NAME,
    NAMESPACE_GAP, PADDING, Rect, SMALL_HEIGHT, SUBTITLE, TITLE,
};
use super::identity_lines::shown_lines;
use super::order::Order;
use super::pack::pack;
use crate::commands::graph::model::Graph;
use crate::commands::graph::render::{identities, namespaces};

/// Stacks the targets, their namespaces, and in each namespace the imports beside their holders.
pub(crate) fn targets(graph: &Graph, order: &Order, layout: &mut Layout, imports_x: f64, right: f64) {
    let mean_of = |imports: &[usize]| mean(imports.iter().map(|it| order.imports[*it]));
    let mut targets: Vec<_> = (0..graph.targets.len())
        .map(|target| {
            let mut namespaces = namespaces(graph, target);
            namespaces.sort_by(|a, b| mean_of(&a.1).total_cmp(&mean_of(&b.1)));
            (target, mean(namespaces.iter().flat_map(|it| &it.1).map(|it| order.imports[*it])), namespaces)
        })
        .collect();
    targets.sort_by(|a, b| a.1.total_cmp(&b.1));
    layout.targets = vec![Rect::default(); targets.len()];
    let mut y = MARGIN + HEAD;
    for (target, _, namespaces) in targets {
        let top = y;
        y += TITLE;
        for (number, (name, mut imports, mut holders)) in namespaces.into_iter().enumerate() {
            y += if number == 0 { 0.0 } else { NAMESPACE_GAP };
            let room = Rect {
                x: MARGIN + PADDING,
                y,
                width: right - MARGIN - 2.0 * PADDING,
                height: SUBTITLE - 4.0,
            };
            layout.namespaces.push(Label { text: name.to_owned(), room });
            imports.sort_by(|a, b| order.imports[*a].total_cmp(&order.imports[*b]));
            holders.sort_by(|a, b| order.holders[*a].total_cmp(&order.holders[*b]));
            y = namespace(graph, layout, y + SUBTITLE, imports_x, &imports, &holders);
        }
        y += PADDING;
        layout.targets[target] = Rect { x: MARGIN, y: top, width: right - MARGIN, height: y - top };
        y += CLUSTER_GAP;
    }
}

/// Places a namespace: packs the longer column densely, and the boxes of the other one beside those that they are
/// connected with. Returns the bottom.
fn namespace(
    graph: &Graph,
    layout: &mut Layout,
    top: f64,
    imports_x: f64,
    imports: &[usize],
    holders: &[usize],
) -> f64 {
    let dense = |count: usize| pack(&vec![(0.0, SMALL_HEIGHT); count], GAP);
    let rows = if holders.len() > imports.len() {
        let holder_tops = dense(holders.len());
        let best_top = |import: usize| {
            let connected =
                holders.iter().zip(&holder_tops).filter(|(it, _)| graph.imports[import].holders.contains(it));
            mean(connected.map(|(_, y)| *y))
        };
        let best: Vec<_> = imports.iter().map(|it| (best_top(*it), SMALL_HEIGHT)).collect();
        (pack(&best, GAP), holder_tops)
    } else {
        let import_tops = dense(imports.len());
        let best_top = |holder: usize| {
            let connected = imports
                .iter()
                .zip(&import_tops)
                .filter(|(it, _)| graph.imports[**it].holders.contains(&holder));
            mean(connected.map(|(_, y)| *y))
        };
        let best: Vec<_> = holders.iter().map(|it| (best_top(*it), SMALL_HEIGHT)).collect();
        let holder_tops = pack(&best, GAP);
        (import_tops, holder_tops)
    };
    let least = rows.0.iter().chain(&rows.1).copied().fold(f64::INFINITY, f64::min);
    let small = |x: f64, y: f64, width: f64| Rect { x, y: top + y - least, width, height: SMALL_HEIGHT };
    let mut bottom = top;
    for (import, y) in imports.iter().zip(rows.0) {
        layout.imports[*import] = small(imports_x, y, IMPORT_WIDTH);
        bottom = bottom.max(layout.imports[*import].bottom());
    }
    for (holder, y) in holders.iter().zip(rows.1) {
        layout.holders[*holder] = small(MARGIN + PADDING, y, HOLDER_WIDTH);
        bottom = bottom.max(layout.holders[*holder].bottom());
    }
    bottom
}

/// Stacks the sources, as close as possible to the imports of their identities.
pub(crate) fn sources(graph: &Graph, layout: &mut Layout, x: f64) {
    let best: Vec<_> = (0..graph.identities.len())
        .map(|identity| {
            let imports = graph.imports.iter().zip(&layout.imports).filter(|(it, _)| it.identity == identity);
            mean(imports.map(|(_, rect)| rect.middle()))
        })
        .collect();
    let height = |identity: usize| {
        let (marks, rights) = shown_lines(graph, &graph.identities[identity]);
        // The number is small, so the conversion is exact.
        #[allow(clippy::cast_precision_loss)]
        let lines = (marks.len() + rights.len()) as f64;
        NAME + lines * LINE + 8.0
    };
    let mut groups: Vec<_> = (0..graph.sources.len())
        .map(|source| {
            let mut members: Vec<_> = identities(graph, source).collect();
            members.sort_by(|a, b| best[*a].total_cmp(&best[*b]));
            let mut below = TITLE;
            let mut tops = Vec::new();
            for it in &members {
                tops.push(best[*it] - below - height(*it) / 2.0);
                below += height(*it) + GAP;
            }
            (source, mean(tops.into_iter()), below - GAP + PADDING, members)
        })
        .collect();
    groups.sort_by(|a, b| (a.1 + a.2 / 2.0).total_cmp(&(b.1 + b.2 / 2.0)));
    let boxes: Vec<_> = groups.iter().map(|(_, best, whole, _)| (*best, *whole)).collect();
    let tops = pack(&boxes, CLUSTER_GAP);
    let least = tops.iter().copied().fold(f64::INFINITY, f64::min);
    let down = (MARGIN + HEAD - least).max(0.0);
    layout.sources = vec![Rect::default(); groups.len()];
    for ((source, _, whole, members), top) in groups.into_iter().zip(tops) {
        let top = top + down;
        layout.sources[source] =
            Rect { x: x - PADDING, y: top, width: IDENTITY_WIDTH + 2.0 * PADDING, height: whole };
        let mut y = top + TITLE;
        for identity in members {
            let height = height(identity);
            layout.identities[identity] = Rect { x, y, width: IDENTITY_WIDTH, height };
            y += height + GAP;
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}
