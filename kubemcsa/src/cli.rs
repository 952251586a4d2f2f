//! The command line: its flags, and what it prints.

pub mod args;
pub mod diff;
pub mod flags;
pub mod output;
pub mod program;
pub mod table;
pub mod times;
pub mod usage;
