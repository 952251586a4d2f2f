//! Tables on stdout, also as JSON and YAML.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use serde::Serialize;
use tabwriter::TabWriter;

use crate::cli::output;

/// Format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TableFormat {
    /// A JSON array with all fields.
    Json,
    /// The same in YAML.
    Yaml,
    /// The table with additional columns.
    Wide,
}

/// A column: its title, and which tables have it.
pub(crate) type Column = (&'static str, Width);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Any,
    /// Only the wide table.
    Wide,
}

/// A row; JSON and YAML serialize it.
pub(crate) trait Row: Serialize {
    const COLUMNS: &'static [Column];

    /// One cell for each column.
    fn cells(&self) -> Vec<Cell>;
}

/// A cell. An empty one is printed as a dash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: AnsiColor::Green.on_default() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: AnsiColor::Red.on_default() }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// Prints rows; instead of an empty table, prints the message `empty` to stderr.
pub(crate) fn print<R: Row>(
    rows: &[R],
    format: Option<TableFormat>,
    cluster: &str,
    empty: &str,
) -> anyhow::Result<()> {
    match format {
        Some(TableFormat::Json) => output::json(&rows),
        Some(TableFormat::Yaml) => output::yaml(&rows),
        None | Some(TableFormat::Wide) if rows.is_empty() => {
            output::info(cluster, empty);
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
    let text = String::from_utf8(bytes).context("the table is not UTF-8")?;
    Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}

fn styled(cell: &Cell) -> String {
    let Cell { text, style } = cell;
    // A row is one line, whatever an object contains.
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
    fn columns_are_aligned() {
        let rows = [Pair("a", "x\ny"), Pair("longer", "")];
        let narrow = anstream::adapter::strip_str(&table(&rows, Width::Any).unwrap()).to_string();
        assert_eq!(narrow, "NAME     STATE\na        x y\nlonger   -\n");
        let wide = anstream::adapter::strip_str(&table(&rows, Width::Wide).unwrap()).to_string();
        assert_eq!(wide.lines().next(), Some("NAME     MORE   STATE"));
    }
}
