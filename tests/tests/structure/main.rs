//! Checks the structure that ARCHITECTURE.md describes: which crate depends on which, and that no files form a circle.
//! Checks in the same way that commands in messages name their contexts.

mod circles;
mod commands;
mod crates;
mod examples;
mod graph;
mod module;
mod modules;
mod syntax;
mod token;
mod workspace;

use anyhow::{Context, Result, anyhow};
use circles::circles;
use graph::Graph;
use modules::Modules;
use std::collections::BTreeSet;
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
fn commands_in_messages_name_their_contexts() -> Result<()> {
    let workspace = Workspace::read()?;
    let modules = Modules::read(Path::new("kubemcsa/src/main.rs"), &|file| workspace.text(file))?;
    let files: BTreeSet<_> = modules.0.into_iter().map(|module| module.file).collect();
    assert!(files.len() > 50, "only {} files of kubemcsa were found", files.len());
    let mut violations = Vec::new();
    for file in files {
        let text = workspace.text(&file).with_context(|| file.display().to_string())?;
        let found = commands::without_context(&text)?;
        violations.extend(found.iter().map(|command| format!("{}: {command}", file.display())));
    }
    let problem = "another context may be the current one when a message's command is run";
    assert!(violations.is_empty(), "{problem}:\n{}", violations.join("\n"));
    Ok(())
}

#[test]
fn crates_depend_only_on_allowed_crates() -> Result<()> {
    let violations = crates::violations(&Workspace::read()?.packages);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    Ok(())
}
