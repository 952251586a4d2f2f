//! The vertical order of nodes, chosen so that few edges cross.

use std::collections::HashMap;

use rust_sugiyama::configure::{Config, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use crate::commands::graph::model::Graph;

/// Vertical positions of nodes if there were no clusters, by their indexes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Order {
    pub(crate) holders: Vec<f64>,
    pub(crate) imports: Vec<f64>,
    pub(crate) identities: Vec<f64>,
}

/// Computes the layered layout of the graph, with its connected components below each other.
pub(crate) fn order(graph: &Graph) -> Order {
    let (holders, imports) = (graph.holders.len(), graph.imports.len());
    let total = holders + imports + graph.identities.len();
    // Ids are indexes: holders, then imports, then identities. No graph with more nodes than `u32` can be drawn.
    let id = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let vertices: Vec<_> = (0..total).map(|index| (id(index), (1.0, 1.0))).collect();
    let mut edges = Vec::new();
    for (index, import) in graph.imports.iter().enumerate() {
        edges.extend(import.holders.iter().map(|holder| (id(*holder), id(holders + index))));
        edges.push((id(holders + index), id(holders + imports + import.identity)));
    }
    let config = Config {
        vertex_spacing: 1.0,
        // Layers are the columns: identities, imports and holders.
        ranking_type: RankingType::Down,
        // It improves the order slightly, but takes minutes for large graphs.
        transpose: total <= 1000,
        ..Default::default()
    };
    let mut components = from_vertices_and_edges(&vertices, &edges, &config);
    // The library returns components in random order.
    components.sort_by_key(|(nodes, _, _)| nodes.iter().map(|(index, _)| *index).min());
    let mut positions = HashMap::new();
    let mut top = 0.0;
    for (nodes, _, _) in components {
        let min = nodes.iter().map(|(_, (across, _))| *across).fold(f64::INFINITY, f64::min);
        let max = nodes.iter().map(|(_, (across, _))| *across).fold(f64::NEG_INFINITY, f64::max);
        positions.extend(nodes.into_iter().map(|(index, (across, _))| (index, top + across - min)));
        top += max - min + 1.0;
    }
    let range = |from: usize, to: usize| {
        (from..to).map(|index| positions.get(&index).copied().unwrap_or_default()).collect()
    };
    Order {
        holders: range(0, holders),
        imports: range(holders, holders + imports),
        identities: range(holders + imports, total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::Import;
    use crate::commands::graph::model::examples::{large, small};

    #[test]
    fn all_nodes_have_a_position_which_is_always_the_same() {
        for graph in [Graph::default(), small(), large()] {
            let first = order(&graph);
            assert_eq!(first.imports.len(), graph.imports.len());
            assert!(first.imports.iter().chain(&first.identities).all(|it| it.is_finite()));
            assert!((0..20).all(|_| order(&graph) == first));
        }
    }

    /// The library must not panic, whatever is in the clusters.
    #[test]
    fn any_graph_can_be_ordered() {
        let mut state = 1_u32;
        let mut below = |most: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % most
        };
        for round in 0..80 {
            let (holders, imports, identities) =
                (below(1 + round / 4), 1 + below(1 + round / 2), 1 + below(20));
            let import = |below: &mut dyn FnMut(usize) -> usize| Import {
                holders: (0..holders).filter(|_| below(4) == 0).collect(),
                identity: below(identities),
                ..Default::default()
            };
            let graph = Graph {
                holders: vec![Default::default(); holders],
                imports: (0..imports).map(|_| import(&mut below)).collect(),
                identities: vec![Default::default(); identities],
                ..Default::default()
            };
            let order = order(&graph);
            assert!(order.holders.iter().chain(&order.imports).all(|it| it.is_finite()), "{graph:?}");
        }
    }
}
