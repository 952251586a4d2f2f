//! Prints the table, and a line for each aim.

/// A section of the table.
pub struct Section {
    pub title: &'static str,
    pub rows: Vec<Row>,
}

/// A figure, beside a limit or a comparable figure.
pub struct Row {
    what: &'static str,
    figure: String,
    beside: String,
}

/// An aim of the figures.
pub struct Aim {
    pub what: String,
    /// The measured figure.
    pub figure: String,
    pub is_met: bool,
}

impl Row {
    pub fn new(what: &'static str, figure: impl Into<String>, beside: impl Into<String>) -> Self {
        Self { what, figure: figure.into(), beside: beside.into() }
    }
}

/// Prints the table. `subject` is what is measured.
pub fn print(title: &str, subject: &str, sections: &[Section], aims: &[Aim]) {
    println!("\n{title}\n");
    println!("{:58}{subject:>12}   compared with", "");
    for Section { title, rows } in sections {
        println!("{title}");
        for Row { what, figure, beside } in rows {
            println!("  {what:56}{figure:>12}   {beside}");
        }
    }
    println!("\nAims");
    for Aim { what, figure, is_met } in aims {
        println!("  {:8}{what}: {figure}", if *is_met { "met" } else { "NOT MET" });
    }
}
