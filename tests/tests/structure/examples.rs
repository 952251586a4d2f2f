//! The checks, on small crates.

use crate::circles::circles;
use crate::crates;
use crate::graph::Graph;
use crate::modules::Modules;
use anyhow::Result;
use rstest::rstest;
use serde_json::json;
use std::path::Path;

#[rstest]
#[case::none(&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")], "")]
#[case::of_two(
    &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "use super::a::A; pub struct B;")],
    "a.rs (B) -> b.rs (A) -> a.rs"
)]
#[case::of_three(
    &[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::{self}; pub fn a() { b::b() }"),
        ("b.rs", "pub fn b() { crate::c::C::default(); }"),
        ("c.rs", "pub struct C(crate::a::A<u8>);"),
    ],
    "a.rs (b) -> b.rs (C) -> c.rs (A) -> a.rs"
)]
#[case::parent_and_child(
    &[("lib.rs", "mod a;"), ("a.rs", "mod x; use x::X; pub struct A;"), ("a/x.rs", "use super::A; pub struct X;")],
    ""
)]
#[case::parent_and_two_children(
    &[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod x; mod y; use y::Y; pub struct A;"),
        ("a/x.rs", "use super::A; pub struct X;"),
        ("a/y.rs", "use super::x::X; pub struct Y;"),
    ],
    ""
)]
#[case::children_among_themselves(
    &[
        ("lib.rs", "mod a;"),
        ("a.rs", "mod x; mod y; use y::Y; pub struct A;"),
        ("a/x.rs", "use super::{A, y::Y}; pub struct X;"),
        ("a/y.rs", "use super::x::X; pub struct Y;"),
    ],
    "a/x.rs (Y) -> a/y.rs (X) -> a/x.rs"
)]
#[case::through_the_child_of_one(
    &[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub mod x; use crate::b::B; pub struct A;"),
        ("a/x.rs", "use super::A; pub struct X;"),
        ("b.rs", "use crate::a::x::X; pub struct B;"),
    ],
    "a/x.rs (A) -> a.rs (B) -> b.rs (X) -> a/x.rs"
)]
#[case::a_parent_exports_what_its_child_declares(
    &[
        ("lib.rs", "mod a; mod b; pub use b::B;"),
        ("a.rs", "mod x; pub use x::X; use crate::B;"),
        ("a/x.rs", "pub struct X;"),
        ("b.rs", "use crate::a::X; pub struct B;"),
    ],
    ""
)]
#[case::an_export_hides_no_circle(
    &[
        ("lib.rs", "mod a; mod b; pub use a::*; pub use b::B as C;"),
        ("a.rs", "use crate::C; pub struct A;"),
        ("b.rs", "use crate::A; pub struct B;"),
    ],
    "a.rs (B) -> b.rs (A) -> a.rs"
)]
#[case::in_a_macro_and_an_attribute(
    &[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub fn a() { println!(\"{}\", crate::b::B) }"),
        ("b.rs", "#[derive(Parser)] pub struct B { #[arg(value_parser = crate::a::a)] b: u8 }"),
    ],
    "a.rs (B) -> b.rs (a) -> a.rs"
)]
#[case::in_tests_only(
    &[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "#[cfg(test)] mod tests; pub struct A;"),
        ("a/tests.rs", "use crate::b::B;"),
        ("b.rs", "use crate::a::A; pub struct B; #[cfg(test)] mod tests { use crate::a::tests::T; }"),
    ],
    ""
)]
#[case::files_elsewhere(
    &[
        ("benches/one/main.rs", "mod a; #[path = \"../two/b.rs\"] mod b;"),
        ("benches/one/a/mod.rs", "use crate::b::B; pub struct A;"),
        ("benches/two/b.rs", "use crate::a::A; pub struct B;"),
    ],
    "benches/one/a/mod.rs (B) -> benches/two/b.rs (A) -> benches/one/a/mod.rs"
)]
fn circles_are_found(#[case] files: &[(&str, &str)], #[case] expected: &str) -> Result<()> {
    let read = |path: &Path| Some(files.iter().find(|(file, _)| path == *file)?.1.to_owned());
    let graph = Graph::of(&Modules::read(Path::new(files[0].0), &read)?);
    let found: Vec<_> = circles(&graph).iter().map(|circle| circle.shortest()).collect();
    assert_eq!(found.join("\n"), expected);
    Ok(())
}

#[rstest]
#[case::allowed("mcsa-webhook", "mcsa-client", None, "")]
#[case::in_tests("mcsa-client", "mcsa-tests", Some("dev"), "")]
#[case::another_binary(
    "mcsa-webhook",
    "mcsa-importer",
    None,
    "mcsa-webhook must not depend on mcsa-importer"
)]
#[case::upwards("mcsa-client", "mcsa-runtime", Some("build"), "mcsa-client must not depend on mcsa-runtime")]
#[case::unknown("mcsa-new", "mcsa-client", None, "mcsa-new is not in ALLOWED")]
#[case::of_others("mcsa-client", "serde", None, "")]
fn dependencies_are_checked(
    #[case] name: &str,
    #[case] dependency: &str,
    #[case] kind: Option<&str>,
    #[case] expected: &str,
) -> Result<()> {
    let package =
        json!({ "name": name, "dependencies": [{ "name": dependency, "kind": kind }], "targets": [] });
    let mut packages = vec![serde_json::from_value(package)?];
    if dependency.starts_with("mcsa-") {
        let package = json!({ "name": dependency, "dependencies": [], "targets": [] });
        packages.push(serde_json::from_value(package)?);
    }
    let found = crates::violations(&packages).join("\n");
    assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    Ok(())
}
