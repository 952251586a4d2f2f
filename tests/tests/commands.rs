//! What all commands have in common: they read kubeconfigs, report problems of clusters, can be repeated, and print.

mod http_proxy;
mod idempotent;
mod kubeconfigs;
mod output;
mod printed;
mod problems;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use kube::config::Kubeconfig;
use mcsa_tests::{Cluster, program};

/// Environment variables of this machine that would change how commands behave.
const ENVIRONMENT: [&str; 10] = [
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "RUST_BACKTRACE",
];

/// A completed run of `kubemcsa`.
#[derive(Clone, Debug)]
struct Completed {
    args: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Completed {
    /// Returns stdout. Fails unless the command succeeded.
    fn stdout(self) -> anyhow::Result<String> {
        ensure!(self.code == Some(0), "{}: exit code {:?}:\n{}", self.args, self.code, self.stderr);
        Ok(self.stdout)
    }

    /// Fails unless the command failed with one error line that contains all of these words, and printed nothing to
    /// stdout.
    fn failed_with(&self, words: &[&str]) -> anyhow::Result<()> {
        let Self { args, code, stdout, stderr } = self;
        ensure!(*code == Some(1) && stdout.is_empty(), "{args}: exit code {code:?}:\n{stdout}{stderr}");
        ensure!(!stderr.contains("panicked"), "{args}: {stderr}");
        let errors = stderr.lines().filter(|line| line.starts_with("kubemcsa: ")).count();
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(
            errors == 1 && last.starts_with("kubemcsa: "),
            "{args}: stderr must end with its only error line:\n{stderr}"
        );
        for word in words {
            ensure!(last.contains(word), "{args}: {word:?} is not in: {last}");
        }
        Ok(())
    }
}

/// A command of `kubemcsa` with this `KUBECONFIG` and these arguments.
fn command<'a>(
    kubeconfig: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Command> {
    let mut command = Command::new(program("kubemcsa")?);
    for variable in ENVIRONMENT {
        command.env_remove(variable);
    }
    command.env("KUBECONFIG", kubeconfig).args(args);
    Ok(command)
}

/// Runs a command to its end, without blocking the runtime.
async fn complete(mut command: Command) -> anyhow::Result<Completed> {
    let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let args = args.join(" ");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = |bytes| String::from_utf8(bytes);
    Ok(Completed {
        args,
        code: output.status.code(),
        stdout: text(output.stdout)?,
        stderr: text(output.stderr)?,
    })
}

async fn run<'a>(
    kubeconfig: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Completed> {
    complete(command(kubeconfig, args)?).await
}

/// Merges kubeconfigs into one file. The current context is that of the first.
fn write(kubeconfigs: impl IntoIterator<Item = Kubeconfig>, path: &Path) -> anyhow::Result<PathBuf> {
    let merged = kubeconfigs.into_iter().try_fold(Kubeconfig::default(), Kubeconfig::merge)?;
    std::fs::write(path, serde_saphyr::to_string(&merged)?)?;
    Ok(path.to_owned())
}

/// The kinds of objects that commands create.
const KINDS: &str = "namespaces,serviceaccounts,secrets,clusterroles,clusterrolebindings,roles,rolebindings,\
    validatingadmissionpolicies,validatingadmissionpolicybindings,customresourcedefinitions,deployments,services,\
    mutatingwebhookconfigurations,poddisruptionbudgets";

/// Objects, each with its UID and its generation or resource version.
type State = BTreeMap<String, String>;

/// All objects that commands may have changed. Uses the generation if there is one, as controllers write the status.
async fn state(cluster: &Cluster) -> anyhow::Result<State> {
    let columns = "custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name,UID:.metadata.uid,\
                   GENERATION:.metadata.generation,VERSION:.metadata.resourceVersion";
    let get = async |kinds| {
        cluster.kubectl(["get", kinds, "--all-namespaces", "--no-headers", "-o", columns]).await
    };
    let mut table = get(KINDS).await?;
    // A source has no such kind.
    table += &get("serviceaccountimports").await.unwrap_or_default();
    let rows = table.lines().filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        // Controllers create and update these.
        ["ServiceAccount", _, "default", ..] | ["ClusterRole", _, "admin" | "edit" | "view", ..] => None,
        [kind, namespace, name, uid, "<none>", version] => {
            Some((format!("{kind} {namespace}/{name}"), format!("{uid} {version}")))
        }
        [kind, namespace, name, uid, generation, _] => {
            Some((format!("{kind} {namespace}/{name}"), format!("{uid} {generation}")))
        }
        _ => None,
    });
    Ok(rows.collect())
}

/// The objects that differ.
fn differences(before: &State, after: &State) -> Vec<String> {
    let changed = before.iter().filter(|(name, version)| after.get(*name) != Some(version));
    let added = after.iter().filter(|(name, _)| !before.contains_key(*name));
    changed.chain(added).map(|(name, _)| name.clone()).collect()
}
