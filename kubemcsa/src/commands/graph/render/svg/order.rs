//! Who stands above whom, so that few lines cross.

use std::collections::HashMap;

use rust_sugiyama::configure::{Config, RankingType};
use rust_sugiyama::from_vertices_and_edges;

use crate::commands::graph::model::Graph;

/// How far down each would stand if there were no clusters around them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// Of holders, by their places.
    pub holders: Vec<f64>,
    /// Of imports.
    pub imports: Vec<f64>,
    /// Of identities.
    pub identities: Vec<f64>,
}

/// The layered layout of the graph. Parts that do not hang together follow each other.
pub fn order(graph: &Graph) -> Order {
    let (holders, imports) = (graph.holders.len(), graph.imports.len());
    let total = holders + imports + graph.identities.len();
    // Ids are places, one kind after the other; a graph with more of them is no picture any more.
    let id = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    let vertices: Vec<_> = (0..total).map(|place| (id(place), (1.0, 1.0))).collect();
    let mut edges = Vec::new();
    for (place, import) in graph.imports.iter().enumerate() {
        edges.extend(import.holders.iter().map(|holder| (id(*holder), id(holders + place))));
        edges.push((id(holders + place), id(holders + imports + import.identity)));
    }
    let config = Config {
        vertex_spacing: 1.0,
        // The columns are known: service accounts, what is one step from them, and what is two.
        ranking_type: RankingType::Down,
        // It gains a little, and takes minutes for a graph that nobody can look at.
        transpose: total <= 1000,
        ..Default::default()
    };
    let mut parts = from_vertices_and_edges(&vertices, &edges, &config);
    // In an order of its own, the library would draw one graph in several ways.
    parts.sort_by_key(|(part, _, _)| part.iter().map(|(place, _)| *place).min());
    let mut found = HashMap::new();
    let mut above = 0.0;
    for (part, _, _) in parts {
        let least = part.iter().map(|(_, (across, _))| *across).fold(f64::INFINITY, f64::min);
        let most = part.iter().map(|(_, (across, _))| *across).fold(f64::NEG_INFINITY, f64::max);
        found.extend(part.into_iter().map(|(place, (across, _))| (place, above + across - least)));
        above += most - least + 1.0;
    }
    let of = |from: usize, to: usize| {
        (from..to).map(|place| found.get(&place).copied().unwrap_or_default()).collect()
    };
    Order {
        holders: of(0, holders),
        imports: of(holders, holders + imports),
        identities: of(holders + imports, total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::graph::model::Import;
    use crate::commands::graph::model::examples::{large, small};

    #[test]
    fn all_have_a_place_which_is_always_the_same() {
        for graph in [Graph::default(), small(), large()] {
            let first = order(&graph);
            assert_eq!(first.imports.len(), graph.imports.len());
            assert!(first.imports.iter().chain(&first.identities).all(|it| it.is_finite()));
            assert!((0..20).all(|_| order(&graph) == first));
        }
    }

    /// The library is trusted with whatever there is in clusters.
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
