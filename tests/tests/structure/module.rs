//! A module: the names it declares or imports, and the paths that its code mentions.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// An index into the modules of a target. The root is 0.
pub type ModuleId = usize;

/// The segments of a path in the source, without generic arguments: `crate`, `link`, `Link`.
pub type Segments = Vec<String>;

#[derive(Default)]
pub struct Module {
    pub file: PathBuf,
    /// `None`: the root of the target.
    pub parent: Option<ModuleId>,
    pub names: BTreeMap<String, Vec<Name>>,
    pub globs: Vec<Segments>,
    /// Paths in imports and in code.
    pub mentions: Vec<Segments>,
}

/// What a name in a module refers to.
pub enum Name {
    Module(ModuleId),
    /// Declared in this module.
    Item,
    Import(Segments),
}
