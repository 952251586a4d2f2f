//! Prints the table of figures, and whether each goal is met.

use std::fmt::Display;

/// A section of the table.
pub struct Section<T = &'static str> {
    pub title: T,
    pub rows: Vec<Row>,
}

/// A figure, and a limit or another figure to compare it with.
pub struct Row {
    what: &'static str,
    figure: String,
    reference: String,
}

/// A goal for a figure.
pub struct Goal {
    pub what: String,
    /// The measured figure.
    pub figure: String,
    pub is_met: bool,
}

impl Row {
    pub fn new(what: &'static str, figure: impl Into<String>, reference: impl Into<String>) -> Self {
        Self { what, figure: figure.into(), reference: reference.into() }
    }
}

/// Prints the table. `subject` names what is measured.
pub fn print(title: &str, subject: &str, sections: &[Section<impl Display>], goals: &[Goal]) {
    println!("\n{title}\n");
    println!("{:58}{subject:>12}   compared with", "");
    for Section { title, rows } in sections {
        println!("{title}");
        for Row { what, figure, reference } in rows {
            println!("  {what:56}{figure:>12}   {reference}");
        }
    }
    println!("\nAims");
    for Goal { what, figure, is_met } in goals {
        println!("  {:8}{what}: {figure}", if *is_met { "met" } else { "NOT MET" });
    }
}
