//! Checks the structure that ARCHITECTURE.md describes: which crate depends on which, and that no files form a circle.

mod circles;
mod crates;
mod examples;
mod graph;
mod module;
mod modules;
mod syntax;
mod token;
mod workspace;

use anyhow::{Result, anyhow};
use circles::circles;
use graph::Graph;
use modules::Modules;
use std::path::Path;
use std::thread;
use workspace::Workspace;

#[test]
fn files_do_not_import_each_other_in_circles() -> Result<()> {
    let workspace = Workspace::read()?;
    let roots = workspace.roots();
    let violations = thread::scope(|scope| {
        let checks: Vec<_> = roots.iter().map(|root| scope.spawn(|| check(root, &workspace))).collect();
        checks
            .into_iter()
            .map(|check| check.join().map_err(|_| anyhow!("a check panicked"))?)
            .collect::<Result<String>>()
    })?;
    assert!(violations.is_empty(), "{violations}");
    Ok(())
}

/// Describes the circles of a target, if there are any.
fn check(root: &Path, workspace: &Workspace) -> Result<String> {
    let graph = Graph::of(&Modules::read(root, &|file| workspace.text(file))?);
    let circles: String = circles(&graph).iter().map(|circle| format!("{circle}\n")).collect();
    if circles.is_empty() {
        return Ok(circles);
    }
    Ok(format!("{}: files are in circles of imports\n{circles}", root.display()))
}

#[test]
fn crates_depend_only_on_allowed_crates() -> Result<()> {
    let violations = crates::violations(&Workspace::read()?.packages);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    Ok(())
}
