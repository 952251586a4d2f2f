//! Tables on stdout, and the same for programs.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;
use tabwriter::TabWriter;

use crate::cli::output;

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TableFormat {
    /// A JSON array of all that is known.
    Json,
    /// The same in YAML.
    Yaml,
    /// The table with all its columns.
    Wide,
}

/// A column: its title, and whether only the wide table has it.
pub type Column = (&'static str, Width);

/// Which tables have a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Each.
    Any,
    /// The wide one.
    Wide,
}

/// A row; what is serialized is for programs.
pub trait Row: Serialize {
    /// The columns, in their order.
    const COLUMNS: &'static [Column];

    /// A cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

/// What is in one place of a table. Empty, it is shown as a dash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Something that is well.
    pub fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: AnsiColor::Green.on_default() }
    }

    /// Something that is not.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: AnsiColor::Red.on_default() }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// Prints rows. A table without any is none: `nothing` says so on stderr.
///
/// # Errors
/// When stdout can't be written to.
pub fn print<R: Row>(
    rows: &[R],
    format: Option<TableFormat>,
    cluster: &str,
    nothing: &str,
) -> anyhow::Result<()> {
    match format {
        Some(TableFormat::Json) => output::json(&rows),
        Some(TableFormat::Yaml) => output::yaml(&rows),
        None | Some(TableFormat::Wide) if rows.is_empty() => {
            output::say(cluster, nothing);
            Ok(())
        }
        None => output::styled(&table(rows, Width::Any)?),
        Some(TableFormat::Wide) => output::styled(&table(rows, Width::Wide)?),
    }
}

fn table<R: Row>(rows: &[R], width: Width) -> anyhow::Result<String> {
    let shown = |column: &Column| width == Width::Wide || column.1 == Width::Any;
    let mut writer = TabWriter::new(Vec::new()).padding(3).ansi(true);
    let titles = R::COLUMNS.iter().filter(|column| shown(column)).map(|(title, _)| (*title).to_owned());
    let mut lines = vec![titles.collect::<Vec<_>>()];
    for row in rows {
        let cells = row.cells().into_iter().zip(R::COLUMNS).filter(|(_, column)| shown(column));
        lines.push(cells.map(|(cell, _)| styled(&cell)).collect());
    }
    for line in lines {
        writeln!(writer, "{}", line.join("\t")).context("can't write a table")?;
    }
    let bytes = writer.into_inner().ok().context("can't write a table")?;
    let text = String::from_utf8(bytes).context("a table is no text")?;
    Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}

fn styled(cell: &Cell) -> String {
    let Cell { text, style } = cell;
    // Whatever is in an object, a row is one line.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() { "-".into() } else { format!("{style}{text}{style:#}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, &'static str);

    impl Row for Pair {
        const COLUMNS: &'static [Column] =
            &[("NAME", Width::Any), ("MORE", Width::Wide), ("STATE", Width::Any)];

        fn cells(&self) -> Vec<Cell> {
            vec![self.0.into(), "more".into(), Cell::good(self.1)]
        }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [Pair("a", "x\ny"), Pair("longer", "")];
        let narrow = anstream::adapter::strip_str(&table(&rows, Width::Any).unwrap()).to_string();
        assert_eq!(narrow, "NAME     STATE\na        x y\nlonger   -\n");
        let wide = anstream::adapter::strip_str(&table(&rows, Width::Wide).unwrap()).to_string();
        assert_eq!(wide.lines().next(), Some("NAME     MORE   STATE"));
    }
}
