//! Measures a set of many contexts of one kubeconfig: how long it takes to start, and what it costs at rest.

use std::time::Duration;

use anyhow::{Context, ensure};
use mcsa_client::clusters::{Clusters, Health};
use mcsa_client::config::Contexts;
use mcsa_tests::Cluster;
use tokio::time::{Instant, sleep, timeout};

use crate::repeated::repeat;
use crate::table::{Goal, Row, Section};
use crate::usage::cpu;

/// Number of contexts.
const CONTEXTS: u32 = 300;

/// Goal for the duration of [`ClustersBuilder::start`](mcsa_client::clusters::ClustersBuilder::start).
const MAX_START: Duration = Duration::from_millis(500);

/// Goal for the share of one processor at rest.
const MAX_SHARE: f64 = 0.01;

/// How long to wait after all clusters have responded, and then to measure.
const REST: Duration = Duration::from_secs(20);

/// Deadline for all clusters to respond.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The figures of the set.
pub struct ManyContexts {
    /// Size of the kubeconfig.
    bytes: usize,
    start: Duration,
    ready: Duration,
    /// Share of one processor.
    share: f64,
}

impl ManyContexts {
    /// All contexts lead to one real API server, each with a cluster and a user of its own.
    pub async fn measure() -> anyhow::Result<Self> {
        let cluster = Cluster::start("c1").await?;
        let yaml = serde_saphyr::to_string(&repeat(&cluster.kubeconfig_value(), CONTEXTS))?;
        let kubeconfig = cluster.dir().join("contexts");
        std::fs::write(&kubeconfig, &yaml)?;
        // A file that was just written may change again without another time, so it is not kept in memory yet.
        sleep(Duration::from_secs(1)).await;

        let started = Instant::now();
        let clusters = Clusters::builder().all_contexts(Contexts::from_file(&kubeconfig)).start()?;
        let start = started.elapsed();
        let members = clusters.members();
        ensure!(members.len() == CONTEXTS as usize, "{} contexts have joined", members.len());
        for member in &members {
            let mut health = member.watch_health();
            let ready = timeout(TIMEOUT, health.wait_for(Health::is_ready)).await;
            ready.with_context(|| format!("{member:?} is not ready"))??;
        }
        let ready = started.elapsed();

        sleep(REST).await;
        let (own, started) = (std::process::id(), Instant::now());
        let before = cpu(own)?;
        sleep(REST).await;
        let share = (cpu(own)? - before).as_secs_f64() / started.elapsed().as_secs_f64();
        Ok(Self { bytes: yaml.len(), start, ready, share })
    }

    pub fn section(&self) -> Section {
        let size = format!("{} KiB", self.bytes / 1024);
        let start = format!("at most {} ms", MAX_START.as_millis());
        let share = format!("at most {:.1} %", MAX_SHARE * 100.0);
        Section {
            title: "300 contexts of one kubeconfig, all of one API server",
            rows: vec![
                Row::new("size of the kubeconfig", size, ""),
                Row::new("duration of start()", format!("{} ms", self.start.as_millis()), start),
                Row::new("until all have responded", format!("{} ms", self.ready.as_millis()), ""),
                Row::new("share of a processor at rest", format!("{:.2} %", self.share * 100.0), share),
            ],
        }
    }

    pub fn goals(&self) -> [Goal; 2] {
        [
            Goal {
                what: format!("{CONTEXTS} contexts start within {} ms", MAX_START.as_millis()),
                figure: format!("{} ms", self.start.as_millis()),
                is_met: self.start <= MAX_START,
            },
            Goal {
                what: format!(
                    "{CONTEXTS} contexts at rest: at most {:.1} % of a processor",
                    MAX_SHARE * 100.0
                ),
                figure: format!("{:.2} %", self.share * 100.0),
                is_met: self.share <= MAX_SHARE,
            },
        ]
    }
}
