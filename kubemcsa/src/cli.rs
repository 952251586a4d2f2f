//! The command line: its flags, and what it prints.

pub(crate) mod args;
pub(crate) mod diff;
pub(crate) mod flags;
pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod table;
pub(crate) mod times;
pub(crate) mod usage;
