//! The commands: a module for each, with `Args` and `run`.

pub mod allow;
pub mod bootstrap;
pub mod check;
pub mod completion;
pub mod export;
pub mod graph;
pub mod imports;
pub mod install;
pub mod links;
pub mod man;
pub mod reference;
pub mod rotate;
pub mod uninstall;
pub mod unlink;
pub mod version;
