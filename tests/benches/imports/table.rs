//! The bench's answer: one table, and a line for each aim.

/// What belongs together.
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// The figures.
    pub rows: Vec<Row>,
}

/// A figure, and what it is to be measured against.
pub struct Row {
    what: &'static str,
    figure: String,
    beside: String,
}

/// What the figures should come to.
pub struct Aim {
    /// The aim.
    pub what: String,
    /// The figure.
    pub seen: String,
    /// Whether it is met.
    pub is_met: bool,
}

impl Row {
    /// A figure of what is measured, beside its limit or peer.
    pub fn new(what: &'static str, figure: impl Into<String>, beside: impl Into<String>) -> Self {
        Self { what, figure: figure.into(), beside: beside.into() }
    }
}

/// Prints it all, `subject` being what is measured.
pub fn print(title: &str, subject: &str, sections: &[Section], aims: &[Aim]) {
    println!("\n{title}\n");
    println!("{:58}{subject:>12}   limit or peer", "");
    for Section { title, rows } in sections {
        println!("{title}");
        for Row { what, figure, beside } in rows {
            println!("  {what:56}{figure:>12}   {beside}");
        }
    }
    println!("\nAims");
    for Aim { what, seen, is_met } in aims {
        println!("  {:8}{what}: {seen}", if *is_met { "met" } else { "NOT MET" });
    }
}
