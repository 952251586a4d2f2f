//! The structure that ARCHITECTURE.md describes: which crate depends on which, and no circles of files.

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
fn files_form_no_circles() -> Result<()> {
    let workspace = Workspace::read()?;
    let roots = workspace.roots();
    let wrong = thread::scope(|scope| {
        let checks: Vec<_> = roots.iter().map(|root| scope.spawn(|| check(root, &workspace))).collect();
        checks
            .into_iter()
            .map(|check| check.join().map_err(|_| anyhow!("a check panicked"))?)
            .collect::<Result<String>>()
    })?;
    assert!(wrong.is_empty(), "{wrong}");
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
fn crates_depend_only_on_those_below_them() -> Result<()> {
    let wrong = crates::wrong(&Workspace::read()?.packages);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
