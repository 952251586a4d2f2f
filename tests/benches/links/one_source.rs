//! `bootstrap` of one source, compared with `kubectl apply` of the same objects. `bootstrap` also mints a token and
//! tries it.

use std::time::{Duration, Instant};

use mcsa_tests::kubemcsa_ok;

use crate::fixture::Fixture;
use crate::table::{Goal, Row, Section};
use crate::units::{median, seconds};

const LIMIT: Duration = Duration::from_secs(1);

pub struct OneSource {
    first: Vec<Duration>,
    again: Vec<Duration>,
    rotate: Duration,
    kubectl: Vec<Duration>,
}

/// Links and unlinks the first source in each round.
pub async fn measure(fixture: &Fixture, rounds: u32) -> anyhow::Result<OneSource> {
    let contexts = ["--target-context", "c1", "--source-context", "s0"];
    let command = |command: &[&'static str]| [command, &contexts].concat();
    let mut one =
        OneSource { first: Vec::new(), again: Vec::new(), rotate: Duration::ZERO, kubectl: Vec::new() };
    for _ in 0..rounds {
        let mut files = Vec::new();
        for (side, cluster) in [("source", &fixture.sources[0]), ("target", &fixture.target)] {
            let yaml =
                kubemcsa_ok(&fixture.kubeconfig, command(&["bootstrap", "-o", "yaml", "--side", side]))?;
            let file = cluster.dir().join("link.yaml");
            std::fs::write(&file, yaml)?;
            files.push((cluster, file.display().to_string()));
        }
        let start = Instant::now();
        for (cluster, file) in &files {
            cluster.kubectl(["apply", "--server-side", "--force-conflicts", "-f", file]).await?;
        }
        one.kubectl.push(start.elapsed());
        fixture.unlink("s0")?;

        one.first.push(fixture.time(&command(&["bootstrap"]))?);
        one.again.push(fixture.time(&command(&["bootstrap"]))?);
        fixture.unlink("s0")?;
    }
    fixture.time(&command(&["bootstrap"]))?;
    one.rotate = fixture.time(&command(&["rotate"]))?;
    fixture.unlink("s0")?;
    Ok(one)
}

impl OneSource {
    pub fn section(&self) -> Section {
        let kubectl = format!("{} kubectl apply, both sides", seconds(median(&self.kubectl)));
        let ratio = median(&self.first).as_secs_f64() / median(&self.kubectl).as_secs_f64();
        Section {
            title: "One source; median of all rounds",
            rows: vec![
                Row::new("bootstrap, until the new link works", seconds(median(&self.first)), kubectl),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
                Row::new("bootstrap again", seconds(median(&self.again)), ""),
                Row::new("rotate, until the old token is refused", seconds(self.rotate), "at most 60.0 s"),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        let longest = self.first.iter().max().copied().unwrap_or_default();
        Goal {
            what: "bootstrap of one source always below 1 s".into(),
            figure: seconds(longest),
            is_met: longest < LIMIT,
        }
    }
}
