//! `bootstrap` of one source, beside `kubectl apply` of the same objects. `bootstrap` also mints and tries a token.

use std::time::{Duration, Instant};

use mcsa_tests::kubemcsa_ok;

use crate::scene::Scene;
use crate::table::{Aim, Row, Section};
use crate::words::{median, seconds};

const LIMIT: Duration = Duration::from_secs(1);

pub struct One {
    first: Vec<Duration>,
    again: Vec<Duration>,
    rotate: Duration,
    kubectl: Vec<Duration>,
}

/// Links and unlinks the first source in each round.
pub async fn measure(scene: &Scene, rounds: u32) -> anyhow::Result<One> {
    let both = ["--target-context", "c1", "--source-context", "s0"];
    let command = |command: &[&'static str]| [command, &both].concat();
    let mut one = One { first: Vec::new(), again: Vec::new(), rotate: Duration::ZERO, kubectl: Vec::new() };
    for _ in 0..rounds {
        let mut files = Vec::new();
        for (side, cluster) in [("source", &scene.sources[0]), ("target", &scene.target)] {
            let yaml = kubemcsa_ok(&scene.kubeconfig, command(&["bootstrap", "-o", "yaml", "--side", side]))?;
            let file = cluster.dir().join("link.yaml");
            std::fs::write(&file, yaml)?;
            files.push((cluster, file.display().to_string()));
        }
        let start = Instant::now();
        for (cluster, file) in &files {
            cluster.kubectl(["apply", "--server-side", "--force-conflicts", "-f", file]).await?;
        }
        one.kubectl.push(start.elapsed());
        scene.forget("s0")?;

        one.first.push(scene.time(&command(&["bootstrap"]))?);
        one.again.push(scene.time(&command(&["bootstrap"]))?);
        scene.forget("s0")?;
    }
    scene.time(&command(&["bootstrap"]))?;
    one.rotate = scene.time(&command(&["rotate"]))?;
    scene.forget("s0")?;
    Ok(one)
}

impl One {
    pub fn section(&self) -> Section {
        let kubectl = format!("{} kubectl apply, both sides", seconds(median(&self.kubectl)));
        let ratio = median(&self.first).as_secs_f64() / median(&self.kubectl).as_secs_f64();
        Section {
            title: "One source; median of all rounds",
            rows: vec![
                Row::new("bootstrap, until the new link works", seconds(median(&self.first)), kubectl),
                Row::new("ratio", format!("{ratio:.2}"), "1.00"),
                Row::new("bootstrap again", seconds(median(&self.again)), ""),
                Row::new("rotate, until the old token is refused", seconds(self.rotate), "60.0 s at most"),
            ],
        }
    }

    pub fn aim(&self) -> Aim {
        let most = self.first.iter().max().copied().unwrap_or_default();
        Aim {
            what: "bootstrap of one source always below 1 s".into(),
            figure: seconds(most),
            is_met: most < LIMIT,
        }
    }
}
