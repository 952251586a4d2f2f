//! Credential plugins of a kubeconfig
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).

use std::collections::HashMap;
use std::path::MAIN_SEPARATOR;

use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde_json::Value;

use super::entry::{Entry, Fields};
use super::field_problem::FieldProblem;

/// The versions that Kubernetes has not removed.
const API_VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The extension of a cluster that is passed to plugins.
const EXTENSION: &str = "client.authentication.k8s.io/exec";

/// Reads the `exec` of a user. `cluster` is what a plugin that wants it is told about the cluster.
pub(super) fn read(
    user: &Entry,
    exec: &Fields<'_>,
    cluster: impl FnOnce() -> ExecAuthCluster,
) -> Result<ExecConfig, FieldProblem> {
    let command = exec.text("command")?.ok_or(FieldProblem::Empty("exec.command"))?;
    // As for client-go, a command with a separator is a path, and others are looked up.
    let command = match command.contains(MAIN_SEPARATOR) {
        true => user.path(&command).to_string_lossy().into_owned(),
        false => command,
    };
    let variable = |variable: Fields<'_>| {
        let pair = ["name", "value"].map(|key| Ok((key.to_owned(), variable.text(key)?.unwrap_or_default())));
        pair.into_iter().collect::<Result<HashMap<_, _>, FieldProblem>>()
    };
    let mode = match exec.text("interactiveMode")?.as_deref() {
        None | Some("IfAvailable") => ExecInteractiveMode::IfAvailable,
        Some("Never") => ExecInteractiveMode::Never,
        Some("Always") => ExecInteractiveMode::Always,
        Some(_) => return Err(exec.wrong_type("interactiveMode", "Never, IfAvailable or Always")),
    };
    let api_version = exec.text("apiVersion")?.ok_or(FieldProblem::Empty("exec.apiVersion"))?;
    if !API_VERSIONS.contains(&&*api_version) {
        let expected = "client.authentication.k8s.io/v1 or client.authentication.k8s.io/v1beta1";
        return Err(exec.wrong_type("apiVersion", expected));
    }
    let provide_cluster_info = exec.flag("provideClusterInfo")?;
    Ok(ExecConfig {
        api_version: Some(api_version),
        command: Some(command),
        args: Some(exec.texts("args")?),
        env: Some(exec.objects("env")?.into_iter().map(variable).collect::<Result<_, _>>()?),
        install_hint: exec.text("installHint")?,
        interactive_mode: Some(mode),
        provide_cluster_info,
        cluster: provide_cluster_info.then(cluster),
        ..Default::default()
    })
}

/// The cluster's configuration for plugins.
pub(super) fn extension(cluster: &Fields<'_>) -> Result<Option<Value>, FieldProblem> {
    let extensions = cluster.objects("extensions")?;
    let mut found = extensions
        .iter()
        .filter(|extension| extension.value("name").and_then(Value::as_str) == Some(EXTENSION));
    Ok(found.next().and_then(|extension| extension.value("extension").cloned()))
}
