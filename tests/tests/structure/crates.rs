//! Which crate may depend on which.

use crate::workspace::Package;

/// Each crate with the crates of this workspace that it may depend on, except in tests. `None`: any.
const ALLOWED: [(&str, Option<&[&str]>); 10] = [
    ("mcsa-client", Some(&[])),
    ("mcsa-credentials", Some(&["mcsa-client"])),
    ("mcsa-runtime", Some(&[])),
    ("mcsa-importer", Some(BINARY)),
    ("mcsa-launcher", Some(BINARY)),
    ("mcsa-webhook", Some(BINARY)),
    ("kubemcsa", Some(BINARY)),
    ("mcsa-release", Some(&[])),
    ("mcsa-tests", None),
    ("mcsa-examples", None),
];

const BINARY: &[&str] = &["mcsa-client", "mcsa-credentials", "mcsa-runtime"];

/// A line for each dependency that [`ALLOWED`] does not list.
pub fn violations(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| violations_of(package, packages)).collect()
}

fn violations_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let name = &package.name;
    let Some((_, allowed)) = ALLOWED.iter().find(|(listed, _)| listed == name) else {
        return vec![format!(
            "{name} is not in ALLOWED of {}: add it there and to ARCHITECTURE.md, Code map",
            file!()
        )];
    };
    let Some(allowed) = allowed else { return Vec::new() };
    let ours = package.dependencies.iter().filter(|dependency| {
        dependency.kind.as_deref() != Some("dev")
            && packages.iter().any(|package| package.name == dependency.name)
    });
    ours.filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            format!("{name} must not depend on {}: see ARCHITECTURE.md, Code map", dependency.name)
        })
        .collect()
}
