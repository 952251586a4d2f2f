//! Measures what many imports cost at rest, compared with one of kube's clients for each of them.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mcsa_tests::{Cluster, Process, eventually_within};
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::imports_fixture::ImportsFixture;
use crate::imports_process::Start;
use crate::table::{Goal, Row, Section};
use crate::usage::{Memory, cpu};

/// How long a cluster may send nothing before a health check.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// Connections to a cluster: one for HTTP/2, and a spare one while it is replaced.
const MAX_CONNECTIONS: usize = 2;

/// Goal for the share of one processor at rest.
const MAX_SHARE: f64 = 0.01;

/// How long to wait after all clusters have responded, and then how long to measure.
const PAUSE: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(30);

/// Deadline for all clusters to respond.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The users of the measured process, in all clusters. Other requests are those of admins and of Kubernetes itself.
const USERS: &str = "system:serviceaccount:default:";

/// The figures of our client, and of kube's.
pub struct ManyImports {
    imports: u32,
    clusters: u32,
    ours: Figures,
    kube: Figures,
}

/// The figures of a process.
struct Figures {
    start: Start,
    memory_kib: u64,
    /// Open connections to each cluster.
    connections: Vec<usize>,
    /// Requests to all clusters in [`REST`].
    requests: usize,
    /// Requests to the cluster with the imports.
    home_requests: usize,
    /// Those that read a Secret.
    secret_reads: usize,
    /// Share of one processor.
    share: f64,
}

impl ManyImports {
    pub async fn measure(args: &Args) -> anyhow::Result<Self> {
        let Args { clusters, imports, .. } = *args;
        let fixture = ImportsFixture::start(clusters, imports).await?;
        let ours = Figures::measure(&fixture, false).await?;
        let kube = Figures::measure(&fixture, true).await?;
        Ok(Self { imports, clusters, ours, kube })
    }

    /// Memory for each import, in KiB.
    fn memory(&self, figures: &Figures) -> f64 {
        figures.memory_kib as f64 / f64::from(self.imports)
    }

    fn requests_per_second(&self) -> f64 {
        self.ours.requests as f64 / REST.as_secs_f64()
    }

    fn max_requests_per_second(&self) -> f64 {
        f64::from(self.clusters) / MAX_SILENCE.as_secs_f64()
    }

    pub fn section(&self) -> Section {
        let Self { ours, kube, .. } = self;
        let requests = format!("{:.1}/s", self.requests_per_second());
        let max_requests =
            format!("at most {:.1}/s, one per cluster and 10 s", self.max_requests_per_second());
        let home_requests = format!("{:.2}/s", ours.home_requests as f64 / REST.as_secs_f64());
        let connections = |figures: &Figures| figures.connections.iter().sum::<usize>().to_string();
        let memory = |figures| format!("{:.1} KiB", self.memory(figures));
        let seconds = |duration: Duration| format!("{:.1} s", duration.as_secs_f64());
        let max_share = format!("at most {:.1} %", MAX_SHARE * 100.0);
        let kubes = |figure: String| format!("{figure} kube's clients");
        Section {
            title: "Imports of many clusters, at rest",
            rows: vec![
                Row::new("number of imports", self.imports.to_string(), ""),
                Row::new("number of clusters", self.clusters.to_string(), ""),
                Row::new("until all have joined", seconds(ours.start.joined), ""),
                Row::new(
                    "until a cluster has responded to each import",
                    seconds(ours.start.responded),
                    kubes(seconds(kube.start.responded)),
                ),
                Row::new("requests to all clusters", requests, max_requests),
                Row::new("requests to the cluster with the imports", home_requests, ""),
                Row::new("  that read a Secret", ours.secret_reads.to_string(), "0"),
                Row::new("open connections to all clusters", connections(ours), kubes(connections(kube))),
                Row::new(
                    "  to one cluster, at most",
                    ours.max_connections().to_string(),
                    format!("at most {MAX_CONNECTIONS}"),
                ),
                Row::new("share of a processor", format!("{:.2} %", ours.share * 100.0), max_share),
                Row::new("memory per import", memory(ours), kubes(memory(kube))),
            ],
        }
    }

    pub fn goals(&self) -> [Goal; 5] {
        let (ours, imports) = (&self.ours, self.imports);
        let (requests, max_requests) = (self.requests_per_second(), self.max_requests_per_second());
        let memory = self.memory(ours) / self.memory(&self.kube);
        let goal = |what: String, figure: String, is_met| Goal {
            what: format!("{imports} imports at rest: {what}"),
            figure,
            is_met,
        };
        [
            // A check that is due at an edge of the measured time counts as a whole.
            goal(
                format!("at most {max_requests:.1} requests per second to all clusters"),
                format!("{requests:.1}"),
                requests <= max_requests * 1.05,
            ),
            goal("no Secret is read".into(), ours.secret_reads.to_string(), ours.secret_reads == 0),
            goal(
                format!("at most {MAX_CONNECTIONS} connections per cluster"),
                ours.max_connections().to_string(),
                ours.max_connections() <= MAX_CONNECTIONS,
            ),
            goal(
                format!("at most {:.1} % of a processor", MAX_SHARE * 100.0),
                format!("{:.2} %", ours.share * 100.0),
                ours.share <= MAX_SHARE,
            ),
            goal(
                "memory, divided by kube's clients: at most 1.00".into(),
                format!("{memory:.2}"),
                memory <= 1.0,
            ),
        ]
    }
}

impl Figures {
    async fn measure(fixture: &ImportsFixture, is_kube: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-reader-of-imports").arg(&fixture.reader);
        if is_kube {
            command.arg("--kube");
        }
        let log = fixture.home.dir().join(format!("reader-{is_kube}.log"));
        let process = Process::spawn("reader of imports", &command, log)?;
        let start: Start = eventually_within(TIMEOUT, "all clusters respond", async || {
            process.check()?;
            let log = process.log();
            let start = log.lines().find_map(|line| serde_json::from_str(line).ok());
            start.context("the reader has printed nothing")
        })
        .await;

        sleep(PAUSE).await;
        let (started, time, before) = (Instant::now(), cpu(process.id())?, Requests::count(fixture)?);
        sleep(REST).await;
        let share = (cpu(process.id())? - time).as_secs_f64() / started.elapsed().as_secs_f64();
        let after = Requests::count(fixture)?;
        Ok(Self {
            start,
            memory_kib: Memory::of(process.id())?.rss_kib.saturating_sub(start.initial_kib),
            connections: connections(fixture)?,
            requests: after.of_clusters - before.of_clusters,
            home_requests: after.of_home - before.of_home,
            secret_reads: after.of_secrets - before.of_secrets,
            share,
        })
    }

    fn max_connections(&self) -> usize {
        self.connections.iter().copied().max().unwrap_or_default()
    }
}

/// Numbers of requests so far.
struct Requests {
    of_clusters: usize,
    of_home: usize,
    of_secrets: usize,
}

impl Requests {
    fn count(fixture: &ImportsFixture) -> anyhow::Result<Self> {
        let requests = |cluster: &Cluster| -> anyhow::Result<Vec<_>> {
            let mut events = cluster.audit_events()?;
            events
                .retain(|event| event.stage == "ResponseComplete" && event.user.username.starts_with(USERS));
            Ok(events)
        };
        let (of_clusters, of_home) = (requests(&fixture.source)?, requests(&fixture.home)?);
        let of_secrets = of_home
            .iter()
            .filter(|event| event.object_ref.as_ref().is_some_and(|object| object.resource == "secrets"));
        Ok(Self { of_clusters: of_clusters.len(), of_home: of_home.len(), of_secrets: of_secrets.count() })
    }
}

/// Open connections to each proxy, from the kernel's table
/// (<https://docs.kernel.org/networking/proc_net_tcp.html>).
fn connections(fixture: &ImportsFixture) -> anyhow::Result<Vec<usize>> {
    const ESTABLISHED: &str = "01";
    let table =
        fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp; this bench needs Linux")?;
    let remote_ports: Vec<_> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(2);
            let (remote, state) = (fields.next()?, fields.next()?);
            let port = u16::from_str_radix(remote.rsplit_once(':')?.1, 16).ok()?;
            (state == ESTABLISHED).then_some(port)
        })
        .collect();
    let to = |port| remote_ports.iter().filter(|remote| **remote == port).count();
    Ok(fixture.proxies.iter().map(|proxy| to(proxy.port())).collect())
}
