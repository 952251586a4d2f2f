//! Prometheus' promtool, and scraped metrics in the form that it reads.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::go_tools::GoTools;

/// Runs promtool, and returns its output. Fails if promtool finds an error.
///
/// Uses the program that `PROMTOOL` names, or builds one in the cache folder.
pub async fn promtool<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    let found = program().await?;
    let mut command = Command::new(found);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let args = command.as_std().get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let output = command.output().await.with_context(|| format!("running {}", found.display()))?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if !output.status.success() {
        bail!("promtool {args} ended with {}:\n{text}", output.status);
    }
    Ok(text)
}

/// The path of promtool. Builds it if necessary.
pub(crate) async fn program() -> anyhow::Result<&'static PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(async || tokio::task::spawn_blocking(find).await?).await
}

fn find() -> anyhow::Result<PathBuf> {
    if let Some(set) = std::env::var_os("PROMTOOL").filter(|value| !value.is_empty()) {
        return Ok(set.into());
    }
    let tools = GoTools {
        name: "promtool",
        folder: "prometheus",
        go_mod: include_str!("../prometheus/go.mod"),
        module: "github.com/prometheus/prometheus",
        // Without service discovery, which needs the client libraries of all clouds.
        flags: ["-tags", "remove_all_sd", "-ldflags", "-s -w"].map(str::to_owned).into(),
        packages: "tool",
        duration: "two minutes",
        alternative: ", or set PROMTOOL to the path of your own",
        renamed: &[],
        additions: &[],
    };
    Ok(tools.build()?.join("promtool"))
}

/// The response of `/metrics`, in OpenMetrics' text format.
#[derive(Clone, Debug)]
pub struct Scrape {
    text: String,
}

impl Scrape {
    /// A scrape with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with a timestamp in seconds at each sample, which promtool requires.
    pub fn with_timestamp(&self, at: u64) -> String {
        let line = |line| match sample(line) {
            Some(_) => format!("{line} {at}\n"),
            None => format!("{line}\n"),
        };
        self.text.lines().map(line).collect()
    }

    /// The value of the first sample with this name whose labels contain this text.
    pub fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let sample = self.samples().find(|sample| sample.name == name && sample.labels.contains(labels))?;
        sample.value.parse().ok()
    }

    /// The same scrape with this value in all samples of that name.
    pub fn with_value(&self, name: &str, value: &str) -> Self {
        let line = |line| match sample(line) {
            Some(sample) if sample.name == name => format!("{name}{{{}}} {value}\n", sample.labels),
            _ => format!("{line}\n"),
        };
        Self::new(self.text.lines().map(line).collect::<String>())
    }

    /// The `input_series` of a promtool unit test with `steps` more scrapes. Gauges stay as they are, and counters grow
    /// by their value in each step. Each series gets the labels of a target.
    pub fn input_series(&self, target: &str, steps: u32) -> Vec<Value> {
        let series = |sample: Sample<'_>| {
            let Sample { name, labels, value } = sample;
            let comma = if labels.is_empty() { "" } else { "," };
            let growth = if self.is_counter(name) { value } else { "0" };
            json!({ "series": format!("{name}{{{target}{comma}{labels}}}"), "values": format!("{value}+{growth}x{steps}") })
        };
        self.samples().map(series).collect()
    }

    fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.text.lines().filter_map(sample)
    }

    fn is_counter(&self, name: &str) -> bool {
        let suffix =
            name.rsplit_once('_').filter(|(_, suffix)| ["total", "bucket", "sum", "count"].contains(suffix));
        let family = suffix.map_or(name, |(family, _)| family);
        ["counter", "histogram"].iter().any(|type_| self.text.contains(&format!("# TYPE {family} {type_}\n")))
    }
}

/// A line of the text: `name{labels} value`.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: &'a str,
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    Some(Sample { name, labels, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP up A gauge.\n# TYPE up gauge\nup 1\n# TYPE made counter\n\
        made_total{by=\"a b\"} 3\n# TYPE took_seconds histogram\ntook_seconds_sum 0.5\n\
        took_seconds_bucket{le=\"+Inf\"} 2\n# EOF\n";

    #[test]
    fn input_series_grow_for_counters_only() {
        let series = Scrape::new(TEXT).input_series("job=\"i\"", 9);
        let pairs: Vec<_> = series
            .iter()
            .map(|one| [&one["series"], &one["values"]].map(|value| value.as_str().unwrap()))
            .collect();
        assert_eq!(
            pairs,
            [
                ["up{job=\"i\"}", "1+0x9"],
                ["made_total{job=\"i\",by=\"a b\"}", "3+3x9"],
                ["took_seconds_sum{job=\"i\"}", "0.5+0.5x9"],
                ["took_seconds_bucket{job=\"i\",le=\"+Inf\"}", "2+2x9"],
            ]
        );
    }

    #[test]
    fn values_can_be_read_and_replaced() {
        let scrape = Scrape::new(TEXT).with_value("made_total", "7");
        assert_eq!(scrape.value("made_total", "by=\"a b\""), Some(7.0));
        assert_eq!(scrape.value("made_total", "by=\"b\""), None);
        assert_eq!(scrape.value("up", ""), Some(1.0));
        assert!(scrape.with_timestamp(5).starts_with("# HELP up A gauge.\n# TYPE up gauge\nup 1 5\n"));
    }
}
