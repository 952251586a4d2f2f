//! Every command, if one of its clusters is down, hangs, has another CA, or denies rights.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::config::Kubeconfig;
use mcsa_tests::{Cluster, Fault, Proxy, kubeconfig_with_server};
use serde_json::json;
use tempfile::TempDir;

use super::table::{Access, COMMANDS, Case};
use super::{Completed, State, differences, run, state, write};

/// What is wrong with a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// The address refuses connections.
    Down,
    /// It accepts connections, and never responds.
    Hanging,
    /// Its certificate is signed by another CA than the kubeconfig's.
    OtherAuthority,
    /// The user has no rights.
    NoRights,
    /// The user may only read.
    ReadOnly,
}

impl Problem {
    /// Whether a command with this access must fail.
    fn stops(self, access: Access) -> bool {
        self != Self::ReadOnly || access == Access::Write
    }

    /// What the error line contains, except for the cluster's name.
    fn words(self, address: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Down => &["can't", address, "is unreachable", "check that the cluster is up"],
            Self::Hanging => &["can't", address, "no response", "within 10s", "check that the cluster is up"],
            Self::OtherAuthority => &["can't", address, "certificate", "configure the CA that signed it"],
            Self::NoRights | Self::ReadOnly => {
                &["context", "cannot", "choose a context that has this permission"]
            }
        };
        words.iter().map(ToString::to_string).collect()
    }
}

/// A target `c1`, a source `c2`, and proxies to both.
struct Fixture {
    clusters: [Cluster; 2],
    proxies: [Proxy; 2],
    folder: TempDir,
}

impl Fixture {
    async fn start() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        for namespace in ["team-a", "team-b"] {
            source.kubectl(["create", "namespace", namespace]).await?;
        }
        mcsa_tests::wait_for_default_service_account(&source, "team-a").await;
        let proxy = |cluster: &Cluster| Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port())));
        let proxies = [proxy(&target).await?, proxy(&source).await?];
        let fixture = Self { clusters: [target, source], proxies, folder: tempfile::tempdir()? };
        for cluster in &fixture.clusters {
            users(cluster).await?;
        }
        Ok(fixture)
    }

    /// A kubeconfig with both clusters, where these clusters have these problems.
    async fn kubeconfig(&self, problems: &[(&str, Problem)]) -> anyhow::Result<PathBuf> {
        let mut file = "kubeconfig".to_owned();
        let mut both = Vec::new();
        let others = self.clusters.iter().rev();
        for ((cluster, other), proxy) in self.clusters.iter().zip(others).zip(&self.proxies) {
            let problem = problems.iter().find(|(name, _)| *name == cluster.name()).map(|(_, it)| *it);
            file += &format!("-{problem:?}");
            let healthy = cluster.kubeconfig_value();
            both.push(match problem {
                None => healthy,
                Some(Problem::Down) => kubeconfig_with_server(healthy, UNREACHABLE),
                Some(Problem::Hanging) => kubeconfig_with_server(healthy, &proxy.url()),
                Some(Problem::OtherAuthority) => trusting(healthy, other.ca_pem()),
                Some(Problem::NoRights) => {
                    Kubeconfig::read_from(cluster.kubeconfig_of("default", "nobody").await?)?
                }
                Some(Problem::ReadOnly) => {
                    Kubeconfig::read_from(cluster.kubeconfig_of("default", "reader").await?)?
                }
            });
        }
        write(both, &self.folder.path().join(file))
    }

    fn address(&self, name: &str, problem: Problem) -> String {
        let which = usize::from(name == "c2");
        match problem {
            Problem::Down => UNREACHABLE.to_owned(),
            Problem::Hanging => self.proxies[which].url(),
            _ => self.clusters[which].server(),
        }
    }

    /// The objects that have changed in either cluster.
    async fn changed(&self, since: &[State; 2]) -> anyhow::Result<Vec<String>> {
        let now = self.state().await?;
        Ok([differences(&since[0], &now[0]), differences(&since[1], &now[1])].concat())
    }

    async fn state(&self) -> anyhow::Result<[State; 2]> {
        Ok([state(&self.clusters[0]).await?, state(&self.clusters[1]).await?])
    }
}

/// An address that refuses connections.
const UNREACHABLE: &str = "https://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn commands_report_problems_and_change_nothing() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    first_bootstrap_without_rights_changes_nothing(&fixture).await?;
    let healthy = fixture.kubeconfig(&[]).await?;
    for command in COMMANDS.iter().take_while(|line| line.name() != "deny") {
        run(&healthy, command.args()).await?.stdout()?;
    }
    let before = fixture.state().await?;

    for proxy in &fixture.proxies {
        proxy.set(Fault::Hang);
    }
    for problem in
        [Problem::Hanging, Problem::Down, Problem::OtherAuthority, Problem::NoRights, Problem::ReadOnly]
    {
        let cases = COMMANDS.iter().flat_map(|command| {
            let stopped = command.sides().into_iter().filter(|(_, access)| problem.stops(*access));
            stopped.map(move |(name, _)| (command, name))
        });
        let cases: Vec<_> = cases.collect();
        let without_target = fixture.kubeconfig(&[("c1", problem)]).await?;
        let without_source = fixture.kubeconfig(&[("c2", problem)]).await?;
        // Commands that wait for a hanging cluster use no CPU, so all of them run at once.
        let concurrency = if problem == Problem::Hanging { cases.len() } else { 4 };
        let mut endings = stream::iter(cases)
            .map(|(command, name)| {
                let kubeconfig = if name == "c1" { &without_target } else { &without_source };
                async move { anyhow::Ok((command, name, run(kubeconfig, command.args()).await?)) }
            })
            .buffer_unordered(concurrency);
        while let Some(ending) = endings.next().await {
            let (command, name, completed) = ending?;
            ensure_reported(command, name, problem, &fixture.address(name, problem), &completed)
                .with_context(|| format!("{problem:?}"))?;
        }
        let changed = fixture.changed(&before).await?;
        ensure!(changed.is_empty(), "{problem:?} changed {changed:?}");
    }
    // Commands that only read need no other rights.
    let readers = fixture.kubeconfig(&[("c1", Problem::ReadOnly), ("c2", Problem::ReadOnly)]).await?;
    for command in
        COMMANDS.iter().filter(|command| command.sides().iter().all(|(_, access)| *access == Access::Read))
    {
        run(&readers, command.args()).await?.stdout()?;
    }
    Ok(())
}

fn ensure_reported(
    case: &Case,
    name: &str,
    problem: Problem,
    address: &str,
    completed: &Completed,
) -> anyhow::Result<()> {
    let mut words = problem.words(address);
    words.push(format!("{name}: "));
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    completed.failed_with(&words)?;
    // Only with some rights does a command get past its first call, and print other lines.
    let lines = completed.stderr.lines().filter(|line| !line.contains("  warning: ")).count();
    ensure!(
        lines == 1 || problem == Problem::ReadOnly,
        "{}: more than one line:\n{}",
        case.words,
        completed.stderr
    );
    Ok(())
}

/// If the user lacks rights in one cluster, bootstrap creates nothing in the other.
async fn first_bootstrap_without_rights_changes_nothing(fixture: &Fixture) -> anyhow::Result<()> {
    let bootstrap = COMMANDS.iter().find(|line| line.name() == "bootstrap").context("no bootstrap")?;
    for name in ["c1", "c2"] {
        let before = fixture.state().await?;
        let kubeconfig = fixture.kubeconfig(&[(name, Problem::ReadOnly)]).await?;
        run(kubeconfig, bootstrap.args()).await?.failed_with(&[name, "cannot"])?;
        let changed = fixture.changed(&before).await?;
        ensure!(changed.is_empty(), "with only read access to {name}, bootstrap changed {changed:?}");
    }
    Ok(())
}

/// The kubeconfig with only this CA.
fn trusting(mut kubeconfig: Kubeconfig, authority: &str) -> Kubeconfig {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.certificate_authority_data = Some(BASE64_STANDARD.encode(authority));
    }
    kubeconfig
}

/// Creates `nobody`, which has no rights, and `reader`, which may only read.
async fn users(cluster: &Cluster) -> anyhow::Result<()> {
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"] }]);
    let role: ClusterRole =
        serde_json::from_value(json!({ "metadata": { "name": "reader" }, "rules": rules }))?;
    Api::all(cluster.client()).create(&Default::default(), &role).await?;
    for user in ["nobody", "reader"] {
        cluster.kubectl(["-n", "default", "create", "serviceaccount", user]).await?;
    }
    let bind =
        ["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--serviceaccount=default:reader"];
    cluster.kubectl(bind).await.map(drop)
}
