//! Runs the programs.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use mcsa_tests::{binaries, example};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::case::Case;
use super::plugin_calls::PluginCalls;
use super::program::Program;
use super::render::render;
use super::values::Values;

/// A program that takes longer waits for something that never happens.
const DEADLINE: Duration = Duration::from_secs(300);

/// Environment variables of this machine that would change what the programs do.
const ENVIRONMENT: [&str; 11] = [
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "KUBERNETES_SERVICE_HOST",
];

/// A completed run of a program.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// `None`: it did not end in time, or was killed.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) namespace: Option<String>,
    pub(super) plugin: PluginCalls,
}

/// Runs the program with the files in `folder`.
pub(super) async fn run(
    program: Program,
    case: &Case,
    folder: &Path,
    values: &Values,
) -> anyhow::Result<Run> {
    let command = self::command(program, case, folder, values).await?;
    let mut run = complete(command, folder).await?;
    run.plugin = PluginCalls::of(folder);
    if !run.works() || case.namespace.is_none() {
        return Ok(run);
    }
    run.namespace = match program {
        Program::Kubectl => {
            let view = ["config", "view", "--minify", "--output=jsonpath={..context.namespace}"];
            let mut command = Command::new(&binaries().await?.kubectl);
            prepare(&mut command, case, folder, values)?;
            let namespace = complete(kubectl_flags(command, case, folder, &view), folder).await?.stdout;
            Some(if namespace.is_empty() { "default".into() } else { namespace })
        }
        Program::Kubemcsa => None,
        Program::Library => text(&serde_json::from_str::<Value>(&run.stdout)?, "/namespace"),
    };
    Ok(run)
}

/// Runs a command of `kubemcsa` with the cluster of the case, which the flags that begin like `prefixes` select.
pub(super) async fn kubemcsa(
    args: &[&str],
    prefixes: &[&str],
    case: &Case,
    folder: &Path,
    values: &Values,
) -> anyhow::Result<Run> {
    let mut command = Command::new(mcsa_tests::program("kubemcsa")?);
    prepare(&mut command, case, folder, values)?;
    command.args(args);
    let context = case.context.as_deref().filter(|context| !context.is_empty());
    for prefix in prefixes {
        if case.environment.is_none() {
            command.arg(format!("--{prefix}kubeconfig")).arg(folder.join("config"));
        }
        if let Some(context) = context {
            command.arg(format!("--{prefix}context")).arg(context);
        }
    }
    complete(command, folder).await
}

/// Completes the name of a context, as a shell does.
pub(super) async fn complete_context(case: &Case, folder: &Path, values: &Values) -> anyhow::Result<Run> {
    let mut command = Command::new(mcsa_tests::program("kubemcsa")?);
    prepare(&mut command, case, folder, values)?;
    if case.environment.is_none() {
        command.env("KUBECONFIG", folder.join("config"));
    }
    command.env("KUBEMCSA_COMPLETE", "fish").args(["--", "kubemcsa", "links", "--context", ""]);
    complete(command, folder).await
}

async fn command(program: Program, case: &Case, folder: &Path, values: &Values) -> anyhow::Result<Command> {
    let mut command = Command::new(match program {
        Program::Kubectl => binaries().await?.kubectl.clone(),
        Program::Kubemcsa => mcsa_tests::program("kubemcsa")?,
        Program::Library => example("kubeconfig_user")?,
    });
    prepare(&mut command, case, folder, values)?;
    let file = if case.environment.is_some() { "".into() } else { folder.join("config") };
    let context = case.context.as_deref().unwrap_or_default();
    match program {
        Program::Kubectl => {
            let review = values.review_file().to_str().context("a path is not UTF-8")?;
            // A raw request needs no discovery.
            let path = "--raw=/apis/authentication.k8s.io/v1/selfsubjectreviews";
            command = kubectl_flags(command, case, folder, &["create", path, "-f", review]);
        }
        Program::Kubemcsa => {
            command.arg("links");
            if case.environment.is_none() {
                command.arg("--kubeconfig").arg(file);
            }
            if !context.is_empty() {
                command.args(["--context", context]);
            }
        }
        Program::Library => {
            command.arg(file).arg(context);
        }
    }
    Ok(command)
}

fn kubectl_flags(mut command: Command, case: &Case, folder: &Path, args: &[&str]) -> Command {
    command.args(args);
    if case.environment.is_none() {
        command.arg("--kubeconfig").arg(folder.join("config"));
    }
    if let Some(context) = &case.context {
        command.args(["--context", context]);
    }
    command
}

/// Sets the environment. Relative paths of the case begin in its folder.
fn prepare(command: &mut Command, case: &Case, folder: &Path, values: &Values) -> anyhow::Result<()> {
    for variable in ENVIRONMENT {
        command.env_remove(variable);
    }
    let words = values.words_in(folder);
    match &case.environment {
        Some(list) => {
            let list = String::from_utf8(render(list, &words, &[])?)?;
            command.env("KUBECONFIG", list);
        }
        None => {
            command.env_remove("KUBECONFIG");
        }
    }
    command.env("HOME", folder).current_dir(folder);
    Ok(())
}

async fn complete(mut command: Command, folder: &Path) -> anyhow::Result<Run> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let mut run = Run {
        code: None,
        stdout: String::new(),
        stderr: format!("no result within {} s", DEADLINE.as_secs()),
        namespace: None,
        plugin: PluginCalls::default(),
    };
    if let Ok(output) = timeout(DEADLINE, command.output()).await {
        let output = output.with_context(|| format!("running a program in {}", folder.display()))?;
        run.code = output.status.code();
        run.stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        run.stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Ok(run)
}

impl Run {
    pub(super) fn works(&self) -> bool {
        self.code == Some(0)
    }

    /// The user that the API server saw. `kubemcsa` prints none.
    pub(super) fn user(&self, program: Program) -> Option<Value> {
        let output: Value = serde_json::from_str(&self.stdout).ok()?;
        let path = match program {
            Program::Kubectl => "/status/userInfo",
            Program::Kubemcsa => return None,
            Program::Library => "/user",
        };
        output.pointer(path).cloned()
    }

    /// The last line of stderr.
    pub(super) fn error(&self) -> &str {
        self.stderr.trim_end().lines().last().unwrap_or_default()
    }
}

fn text(value: &Value, path: &str) -> Option<String> {
    value.pointer(path)?.as_str().map(str::to_owned)
}
