//! Finds circles of files.
//!
//! A circle is allowed if one of its files is a module above all the others: a parent with its own children.
//! So where all files of a knot (files that all reach each other) are below one of them, that one is left out,
//! and the rest is searched again. Any other knot has a circle that is not allowed.

use crate::graph::Graph;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Display};
use std::path::Path;

type Files<'a> = BTreeSet<&'a Path>;

/// Files that all reach each other, none of which is above all the others.
pub struct Circle<'a> {
    pub files: Files<'a>,
    /// The shortest circle among them: each file with the names it uses of the next one.
    shortest: Vec<(&'a Path, &'a BTreeSet<String>)>,
}

pub fn circles(graph: &Graph) -> Vec<Circle<'_>> {
    let mut circles = Vec::new();
    let mut left: Vec<Files> = vec![graph.arrows.keys().map(AsRef::as_ref).collect()];
    while let Some(files) = left.pop() {
        for mut knot in knots(graph, &files) {
            if let Some(top) = top(graph, knot.iter().copied()) {
                knot.remove(top);
                left.push(knot);
            } else {
                circles.push(Circle { shortest: shortest(graph, &knot), files: knot });
            }
        }
    }
    circles
}

/// The groups of at least two files that all reach each other by arrows among `files`.
fn knots<'a>(graph: &'a Graph, files: &Files<'a>) -> BTreeSet<Files<'a>> {
    let reached: BTreeMap<_, Files> =
        files.iter().map(|file| (*file, ways(graph, files, file).into_keys().collect())).collect();
    let knot = |file| reached[file].iter().filter(|other| reached[*other].contains(file)).copied().collect();
    files.iter().map(|file| knot(*file)).filter(|knot: &Files| knot.len() > 1).collect()
}

/// The file that is above all the others.
fn top<'a>(graph: &Graph, files: impl Iterator<Item = &'a Path> + Clone) -> Option<&'a Path> {
    files.clone().find(|top| files.clone().all(|file| file == *top || graph.is_above(top, file)))
}

/// Each file that arrows among `files` lead to from `start`, with the file before it on a shortest way.
fn ways<'a>(graph: &'a Graph, files: &Files<'a>, start: &'a Path) -> BTreeMap<&'a Path, &'a Path> {
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

/// The shortest circle of a knot that is not allowed.
fn shortest<'a>(graph: &'a Graph, knot: &Files<'a>) -> Vec<(&'a Path, &'a BTreeSet<String>)> {
    let mut found: Vec<Vec<&Path>> = Vec::new();
    for start in knot {
        let before = ways(graph, knot, start);
        for end in knot.iter().filter(|end| graph.arrows[**end].contains_key(*start)) {
            let mut circle = vec![*end];
            while let Some(file) = circle.last().filter(|file| *file != start) {
                circle.push(before[file]);
            }
            circle.reverse();
            found.push(circle);
        }
    }
    found.retain(|circle| top(graph, circle.iter().copied()).is_none());
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
