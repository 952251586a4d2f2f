//! Every command, where one of its clusters is dead, mute, another one, or lets nobody in.

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

use super::table::{COMMANDS, Line, Use};
use super::{Ended, State, differences, run, state, write};

/// What is wrong with a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody listens.
    Dead,
    /// It accepts, and never answers.
    Mute,
    /// Its certificate is of another authority.
    Another,
    /// The user has no rights.
    Nobody,
    /// The user may read all, and do nothing else.
    Reader,
}

impl Trouble {
    /// Whether a command has to fail that does this there.
    fn stops(self, does: Use) -> bool {
        self != Self::Reader || does == Use::Write
    }

    /// What a line about it has, but for the cluster's name.
    fn words(self, address: &str) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Dead => &["can't", address, "can't be reached", "is the cluster up"],
            Self::Mute => &["can't", address, "no answer", "within 10 s", "is the cluster up"],
            Self::Another => &["can't", address, "certificate", "is the CA that signed it given"],
            Self::Nobody | Self::Reader => &["context", "may not", "choose a context that has the right"],
        };
        words.iter().map(ToString::to_string).collect()
    }
}

/// A target `c1` that is linked to the source `c2`, and ways to each that don't work.
struct Fixture {
    clusters: [Cluster; 2],
    ways: [Proxy; 2],
    folder: TempDir,
}

impl Fixture {
    async fn start() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        for namespace in ["team-a", "team-b"] {
            source.kubectl(["create", "namespace", namespace]).await?;
        }
        mcsa_tests::wait_for_default_service_account(&source, "team-a").await;
        let way = |cluster: &Cluster| Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, cluster.port())));
        let ways = [way(&target).await?, way(&source).await?];
        let fixture = Self { clusters: [target, source], ways, folder: tempfile::tempdir()? };
        for cluster in &fixture.clusters {
            users(cluster).await?;
        }
        Ok(fixture)
    }

    /// A kubeconfig for both, in which this is wrong with the clusters of this name.
    async fn kubeconfig(&self, troubles: &[(&str, Trouble)]) -> anyhow::Result<PathBuf> {
        let mut file = "kubeconfig".to_owned();
        let mut both = Vec::new();
        let others = self.clusters.iter().rev();
        for ((cluster, other), way) in self.clusters.iter().zip(others).zip(&self.ways) {
            let trouble = troubles.iter().find(|(name, _)| *name == cluster.name()).map(|(_, it)| *it);
            file += &format!("-{trouble:?}");
            let healthy = cluster.kubeconfig_value();
            both.push(match trouble {
                None => healthy,
                Some(Trouble::Dead) => kubeconfig_with_server(healthy, DEAD),
                Some(Trouble::Mute) => kubeconfig_with_server(healthy, &way.url()),
                Some(Trouble::Another) => trusting(healthy, other.ca_pem()),
                Some(Trouble::Nobody) => {
                    Kubeconfig::read_from(cluster.kubeconfig_of("default", "nobody").await?)?
                }
                Some(Trouble::Reader) => {
                    Kubeconfig::read_from(cluster.kubeconfig_of("default", "reader").await?)?
                }
            });
        }
        write(both, &self.folder.path().join(file))
    }

    fn address(&self, name: &str, trouble: Trouble) -> String {
        let which = usize::from(name == "c2");
        match trouble {
            Trouble::Dead => DEAD.to_owned(),
            Trouble::Mute => self.ways[which].url(),
            _ => self.clusters[which].server(),
        }
    }

    /// What changed in either cluster since.
    async fn changed(&self, since: &[State; 2]) -> anyhow::Result<Vec<String>> {
        let now = self.state().await?;
        Ok([differences(&since[0], &now[0]), differences(&since[1], &now[1])].concat())
    }

    async fn state(&self) -> anyhow::Result<[State; 2]> {
        Ok([state(&self.clusters[0]).await?, state(&self.clusters[1]).await?])
    }
}

/// Where nobody listens.
const DEAD: &str = "https://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_told_and_nothing_is_changed() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    refuses_before_the_first_link(&fixture).await?;
    let healthy = fixture.kubeconfig(&[]).await?;
    for command in COMMANDS.iter().take_while(|line| line.name() != "deny") {
        run(&healthy, command.args()).await?.ok()?;
    }
    let before = fixture.state().await?;

    for way in &fixture.ways {
        way.set(Fault::Hang);
    }
    for trouble in [Trouble::Mute, Trouble::Dead, Trouble::Another, Trouble::Nobody, Trouble::Reader] {
        let cases = COMMANDS.iter().flat_map(|command| {
            let stopped = command.sides().into_iter().filter(|(_, does)| trouble.stops(*does));
            stopped.map(move |(name, _)| (command, name))
        });
        let cases: Vec<_> = cases.collect();
        let without_target = fixture.kubeconfig(&[("c1", trouble)]).await?;
        let without_source = fixture.kubeconfig(&[("c2", trouble)]).await?;
        // All at once where all that they do is wait.
        let at_once = if trouble == Trouble::Mute { cases.len() } else { 4 };
        let mut endings = stream::iter(cases)
            .map(|(command, name)| {
                let kubeconfig = if name == "c1" { &without_target } else { &without_source };
                async move { anyhow::Ok((command, name, run(kubeconfig, command.args()).await?)) }
            })
            .buffer_unordered(at_once);
        while let Some(ending) = endings.next().await {
            let (command, name, ended) = ending?;
            is_told(command, name, trouble, &fixture.address(name, trouble), &ended)
                .with_context(|| format!("{trouble:?}"))?;
        }
        let changed = fixture.changed(&before).await?;
        ensure!(changed.is_empty(), "{trouble:?} changed {changed:?}");
    }
    // Whoever only reads needs no more than that.
    let readers = fixture.kubeconfig(&[("c1", Trouble::Reader), ("c2", Trouble::Reader)]).await?;
    for command in
        COMMANDS.iter().filter(|command| command.sides().iter().all(|(_, does)| *does == Use::Read))
    {
        run(&readers, command.args()).await?.ok()?;
    }
    Ok(())
}

fn is_told(line: &Line, name: &str, trouble: Trouble, address: &str, ended: &Ended) -> anyhow::Result<()> {
    let mut words = trouble.words(address);
    words.push(format!("{name}: "));
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    ended.refused(&words)?;
    // Only who may do some of it comes so far as to do it.
    let lines = ended.stderr.lines().filter(|line| !line.contains("  warning: ")).count();
    ensure!(
        lines == 1 || trouble == Trouble::Reader,
        "{}: more than one line:\n{}",
        line.words,
        ended.stderr
    );
    Ok(())
}

/// Not even what a target needs for any link is made where there can be none.
async fn refuses_before_the_first_link(fixture: &Fixture) -> anyhow::Result<()> {
    let bootstrap = COMMANDS.iter().find(|line| line.name() == "bootstrap").context("no bootstrap")?;
    for name in ["c1", "c2"] {
        let before = fixture.state().await?;
        let kubeconfig = fixture.kubeconfig(&[(name, Trouble::Reader)]).await?;
        run(kubeconfig, bootstrap.args()).await?.refused(&[name, "may not"])?;
        let changed = fixture.changed(&before).await?;
        ensure!(changed.is_empty(), "where {name} may only be read, it changed {changed:?}");
    }
    Ok(())
}

/// Trusts this authority, and no other.
fn trusting(mut kubeconfig: Kubeconfig, authority: &str) -> Kubeconfig {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.certificate_authority_data = Some(BASE64_STANDARD.encode(authority));
    }
    kubeconfig
}

/// Makes `nobody`, who may do nothing, and `reader`, who may only read.
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
