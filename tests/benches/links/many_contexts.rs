//! `kubemcsa links` with a large kubeconfig, compared with kubectl, which reads the same one and lists Secrets.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use base64::prelude::{BASE64_STANDARD, Engine};
use kube::config::Kubeconfig;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{binaries, program};
use tokio::time::sleep;

use crate::fixture::Fixture;
use crate::repeated::repeat;
use crate::table::{Goal, Row, Section};
use crate::units::{median, mib};
use crate::usage::Memory;

const CONTEXTS: u32 = 9_800;

/// The context in use, in the middle of the file.
const CONTEXT: &str = "c5000";

/// How often the certificate authority is repeated, so that the kubeconfig has about 30 MB.
const AUTHORITIES: usize = 3;

/// How often a program's memory is read while it runs. The peak lasts until the end of its request.
const MEMORY_INTERVAL: Duration = Duration::from_millis(2);

pub struct ManyContexts {
    bytes: u64,
    kubemcsa: Runs,
    kubectl: Runs,
}

#[derive(Default)]
struct Runs {
    durations: Vec<Duration>,
    peak_kib: u64,
}

/// Writes the kubeconfig, with a certificate authority and a token in each context, and runs both programs alternately.
pub async fn measure(fixture: &Fixture, rounds: u32) -> anyhow::Result<ManyContexts> {
    let grant = format!(
        "create clusterrolebinding bench --clusterrole=cluster-admin --serviceaccount={SYSTEM_NAMESPACE}:default"
    );
    fixture.target.kubectl(grant.split(' ')).await?;
    let mut one = Kubeconfig::read_from(fixture.target.kubeconfig_of(SYSTEM_NAMESPACE, "default").await?)?;
    // The authorities of real clusters have larger keys than ours, and there may be several of them.
    let authorities = BASE64_STANDARD.encode(fixture.target.ca_pem().repeat(AUTHORITIES));
    for cluster in one.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.certificate_authority_data = Some(authorities.clone());
    }
    let kubeconfig = fixture.target.dir().join("kubeconfig-of-many-contexts");
    std::fs::write(&kubeconfig, serde_saphyr::to_string(&repeat(&one, CONTEXTS))?)?;

    let (kubemcsa, kubectl) = (program("kubemcsa")?, binaries().await?.kubectl.clone());
    let links = ["links", "--context", CONTEXT];
    let secrets = ["--context", CONTEXT, "get", "secrets", "-n", SYSTEM_NAMESPACE];
    // The first run of kubectl fills its cache of the API's resources.
    run(&kubectl, &secrets, &kubeconfig, &mut Runs::default()).await?;
    let bytes = std::fs::metadata(&kubeconfig)?.len();
    let mut many = ManyContexts { bytes, kubemcsa: Runs::default(), kubectl: Runs::default() };
    for _ in 0..rounds {
        run(&kubemcsa, &links, &kubeconfig, &mut many.kubemcsa).await?;
        run(&kubectl, &secrets, &kubeconfig, &mut many.kubectl).await?;
    }
    Ok(many)
}

/// Runs a program, and adds its duration and its peak memory to `runs`.
async fn run(program: &PathBuf, args: &[&str], kubeconfig: &Path, runs: &mut Runs) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // A program that has just ended has no memory.
        let peak = Memory::of(child.id()).map_or(0, |memory| memory.peak_kib);
        runs.peak_kib = runs.peak_kib.max(peak);
        sleep(MEMORY_INTERVAL).await;
    };
    runs.durations.push(start.elapsed());
    ensure!(status.success(), "{} {} ended with {status}", program.display(), args.join(" "));
    Ok(())
}

impl ManyContexts {
    fn ratio(&self) -> f64 {
        median(&self.kubemcsa.durations).as_secs_f64() / median(&self.kubectl.durations).as_secs_f64()
    }

    pub fn section(&self) -> Section {
        let [kubemcsa, kubectl] = [&self.kubemcsa, &self.kubectl];
        let millis = |runs: &Runs| format!("{} ms", median(&runs.durations).as_millis());
        let peak = |runs: &Runs| mib(runs.peak_kib * 1024);
        let memory = kubemcsa.peak_kib as f64 / kubectl.peak_kib as f64;
        Section {
            title: "links with 9,800 contexts in one kubeconfig; median of all rounds",
            rows: vec![
                Row::new("size of the kubeconfig", mib(self.bytes), ""),
                Row::new("duration", millis(kubemcsa), format!("{} kubectl get secrets", millis(kubectl))),
                Row::new("ratio", format!("{:.2}", self.ratio()), "1.00"),
                Row::new("peak memory of all rounds", peak(kubemcsa), format!("{} kubectl", peak(kubectl))),
                Row::new("ratio", format!("{memory:.2}"), "1.00"),
            ],
        }
    }

    pub fn goal(&self) -> Goal {
        Goal {
            what: format!("links with {CONTEXTS} contexts, divided by kubectl get secrets: at most 1.00"),
            figure: format!("{:.2}", self.ratio()),
            is_met: self.ratio() <= 1.0,
        }
    }
}
