//! Finds circles of files.
//!
//! A circle is allowed if one of its files is an ancestor module of all others. So if one file of a strongly connected
//! component is an ancestor of all others, the search removes it, and continues with the rest. Any other component
//! contains a circle that is not allowed.

use crate::graph::Graph;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Display};
use std::path::Path;

type Files<'a> = BTreeSet<&'a Path>;

/// Files that all reach each other, none of which is an ancestor of all others.
pub struct Circle<'a> {
    pub files: Files<'a>,
    /// The shortest circle among them: each file with the names that it uses of the next one.
    shortest: Vec<(&'a Path, &'a BTreeSet<String>)>,
}

pub fn circles(graph: &Graph) -> Vec<Circle<'_>> {
    let mut circles = Vec::new();
    let mut left: Vec<Files> = vec![graph.arrows.keys().map(AsRef::as_ref).collect()];
    while let Some(files) = left.pop() {
        for mut component in components(graph, &files) {
            if let Some(ancestor) = common_ancestor(graph, component.iter().copied()) {
                component.remove(ancestor);
                left.push(component);
            } else {
                circles.push(Circle { shortest: shortest(graph, &component), files: component });
            }
        }
    }
    circles
}

/// The strongly connected components of at least two files, by arrows among `files`.
fn components<'a>(graph: &'a Graph, files: &Files<'a>) -> BTreeSet<Files<'a>> {
    let reached: BTreeMap<_, Files> =
        files.iter().map(|file| (*file, paths_from(graph, files, file).into_keys().collect())).collect();
    let component =
        |file| reached[file].iter().filter(|other| reached[*other].contains(file)).copied().collect();
    files.iter().map(|file| component(*file)).filter(|component: &Files| component.len() > 1).collect()
}

/// The file that is an ancestor of all others.
fn common_ancestor<'a>(graph: &Graph, files: impl Iterator<Item = &'a Path> + Clone) -> Option<&'a Path> {
    files.clone().find(|one| files.clone().all(|file| file == *one || graph.is_ancestor(one, file)))
}

/// Each file that is reachable from `start` by arrows among `files`, with its predecessor on a shortest path.
fn paths_from<'a>(graph: &'a Graph, files: &Files<'a>, start: &'a Path) -> BTreeMap<&'a Path, &'a Path> {
    let mut before = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for to in graph.arrows.get(file).into_iter().flat_map(BTreeMap::keys).map(AsRef::as_ref) {
            if files.contains(to) && !before.contains_key(to) {
                before.insert(to, file);
                next.push_back(to);
            }
        }
    }
    before
}

/// The shortest circle of a component that is not allowed.
fn shortest<'a>(graph: &'a Graph, component: &Files<'a>) -> Vec<(&'a Path, &'a BTreeSet<String>)> {
    let mut found: Vec<Vec<&Path>> = Vec::new();
    for start in component {
        let before = paths_from(graph, component, start);
        for end in component.iter().filter(|end| graph.arrows[**end].contains_key(*start)) {
            let mut circle = vec![*end];
            while let Some(file) = circle.last().filter(|file| *file != start) {
                circle.push(before[file]);
            }
            circle.reverse();
            found.push(circle);
        }
    }
    found.retain(|circle| common_ancestor(graph, circle.iter().copied()).is_none());
    let circle = found.into_iter().min_by_key(Vec::len).unwrap_or_default();
    let next = circle.iter().cycle().skip(1);
    circle.iter().zip(next).map(|(file, next)| (*file, &graph.arrows[*file][*next])).collect()
}

impl Circle<'_> {
    /// `a.rs (B) -> b.rs (A) -> a.rs`: `a.rs` uses `B` of `b.rs`, which uses `A` of `a.rs`.
    pub fn shortest(&self) -> String {
        let arrow = |(file, names): &(&Path, &BTreeSet<String>)| {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            format!("{} ({}) -> ", file.display(), names.join(", "))
        };
        let arrows: String = self.shortest.iter().map(arrow).collect();
        format!("{arrows}{}", self.shortest[0].0.display())
    }
}

impl Display for Circle<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "  {}", self.shortest())?;
        let others = self.files.len() - self.shortest.len();
        if others > 0 {
            write!(out, " (and longer ones with {others} more files)")?;
        }
        Ok(())
    }
}
