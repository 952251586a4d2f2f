//! Runs credential plugins
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{ExecConfig, ExecInteractiveMode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::kubeconfig::{IdentityProblem, check_identity};

/// How long a plugin may run.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a plugin may run that can ask somebody on a terminal.
const INTERACTIVE_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The version that is assumed if the kubeconfig names none.
const API_VERSION: &str = "client.authentication.k8s.io/v1";

/// One plugin at a time uses the terminal.
static TERMINAL: Mutex<()> = Mutex::const_new(());

/// A credential plugin can't be used. `Display` and `Debug` show neither its arguments nor its output.
#[derive(Clone, thiserror::Error)]
#[error("credential plugin {command} {problem}{}", self.hint())]
pub struct PluginError {
    /// Its command.
    pub command: String,
    /// How to install it, by the kubeconfig.
    pub install_hint: Option<String>,
    /// What went wrong.
    pub problem: PluginProblem,
}

/// What went wrong with a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginProblem {
    /// The command does not exist.
    #[error("is not installed")]
    NotInstalled,
    /// It can't be started.
    #[error("can't be started: {0}")]
    Start(io::ErrorKind),
    /// It needs a terminal.
    #[error("has interactiveMode Always, but standard input is not a terminal")]
    NoTerminal,
    /// It ended with an error.
    #[error("failed: {0}")]
    Failed(ExitStatus),
    /// It did not end.
    #[error("did not end within {}s", .0.as_secs())]
    TimedOut(Duration),
    /// It printed another version of an ExecCredential than the kubeconfig names.
    #[error("did not print an ExecCredential of apiVersion {0}")]
    OtherVersion(String),
    /// Its client certificate can't be used.
    #[error("printed a client certificate and key that can't be used: {0}")]
    Identity(IdentityProblem),
    /// It printed something else than a credential.
    #[error("printed no ExecCredential with a token, or a certificate and key")]
    NoCredential,
    /// Its credential has an invalid time.
    #[error("printed an ExecCredential with an invalid expirationTimestamp")]
    InvalidTime,
}

/// What a plugin printed.
pub(super) struct PluginCredential {
    pub(super) token: Option<SecretString>,
    /// A client certificate and its key, in PEM.
    pub(super) identity: Option<(String, SecretString)>,
    pub(super) expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// Runs the plugin once.
pub(super) async fn run(
    exec: ExecConfig,
    disable_compression: bool,
) -> Result<PluginCredential, PluginError> {
    let command = program(exec.command.as_deref().unwrap_or_default());
    let result = try_run(&exec, disable_compression).await;
    result.map_err(|problem| PluginError { command, install_hint: exec.install_hint, problem })
}

/// The command for messages: without arguments, if it is a command line, which plugins don't have.
fn program(command: &str) -> String {
    let is_file = !command.contains(char::is_whitespace) || Path::new(command).exists();
    if is_file {
        command.to_owned()
    } else {
        command.split_whitespace().next().unwrap_or_default().to_owned()
    }
}

async fn try_run(exec: &ExecConfig, disable_compression: bool) -> Result<PluginCredential, PluginProblem> {
    let is_interactive = is_interactive(exec.interactive_mode.as_ref(), io::stdin().is_terminal())?;
    let _terminal = match is_interactive {
        true => Some(TERMINAL.lock().await),
        false => None,
    };
    let mut command = Command::new(exec.command.as_deref().unwrap_or_default());
    command.args(exec.args.iter().flatten()).stdout(Stdio::piped()).kill_on_drop(true);
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    for variable in exec.drop_env.iter().flatten() {
        command.env_remove(variable);
    }
    command.env("KUBERNETES_EXEC_INFO", exec_info(exec, is_interactive, disable_compression));
    // As for kubectl, it inherits stderr: it may ask somebody to open a page and log in.
    command.stdin(if is_interactive { Stdio::inherit() } else { Stdio::null() });
    let child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PluginProblem::NotInstalled,
        kind => PluginProblem::Start(kind),
    })?;
    let deadline = if is_interactive { INTERACTIVE_DEADLINE } else { DEADLINE };
    let output = timeout(deadline, child.wait_with_output()).await;
    let output = output.map_err(|_| PluginProblem::TimedOut(deadline))?;
    let output = output.map_err(|error| PluginProblem::Start(error.kind()))?;
    if !output.status.success() {
        return Err(PluginProblem::Failed(output.status));
    }
    parse(&output.stdout, api_version(exec))
}

fn api_version(exec: &ExecConfig) -> &str {
    exec.api_version.as_deref().unwrap_or(API_VERSION)
}

/// Whether the plugin may ask somebody, as for kubectl.
fn is_interactive(mode: Option<&ExecInteractiveMode>, is_terminal: bool) -> Result<bool, PluginProblem> {
    match mode {
        Some(ExecInteractiveMode::Never) => Ok(false),
        Some(ExecInteractiveMode::Always) if !is_terminal => Err(PluginProblem::NoTerminal),
        Some(ExecInteractiveMode::Always | ExecInteractiveMode::IfAvailable) | None => Ok(is_terminal),
    }
}

/// The value of `KUBERNETES_EXEC_INFO`.
fn exec_info(exec: &ExecConfig, is_interactive: bool, disable_compression: bool) -> String {
    let mut spec = json!({ "interactive": is_interactive });
    if exec.provide_cluster_info
        && let Ok(mut cluster) = serde_json::to_value(&exec.cluster)
    {
        if disable_compression {
            cluster["disable-compression"] = true.into();
        }
        spec["cluster"] = cluster;
    }
    json!({ "kind": "ExecCredential", "apiVersion": api_version(exec), "spec": spec }).to_string()
}

/// Parses what a plugin printed. client-go reads YAML, too.
fn parse(stdout: &[u8], api_version: &str) -> Result<PluginCredential, PluginProblem> {
    let credential: Option<ExecCredential> = serde_saphyr::from_slice(stdout).ok();
    let ExecCredential { api_version: printed, status: Some(status) } =
        credential.ok_or(PluginProblem::NoCredential)?
    else {
        return Err(PluginProblem::NoCredential);
    };
    if printed.as_deref() != Some(api_version) {
        return Err(PluginProblem::OtherVersion(api_version.to_owned()));
    }
    let secret = |value: Option<String>| {
        value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).map(SecretString::from)
    };
    let token = secret(status.token);
    let certificate = status.client_certificate_data.filter(|data| !data.is_empty());
    let identity = certificate.zip(secret(status.client_key_data));
    if let Some((certificate, key)) = &identity {
        check_identity(certificate.as_bytes(), key.expose_secret().as_bytes())
            .map_err(PluginProblem::Identity)?;
    }
    if token.is_none() && identity.is_none() {
        return Err(PluginProblem::NoCredential);
    }
    let expires_at = status.expiration_timestamp.map(|time| time.parse()).transpose();
    Ok(PluginCredential { token, identity, expires_at: expires_at.map_err(|_| PluginProblem::InvalidTime)? })
}

impl PluginError {
    fn hint(&self) -> String {
        let hint = self.install_hint.as_ref().filter(|_| self.problem == PluginProblem::NotInstalled);
        hint.map(|hint| format!(": {}", hint.trim())).unwrap_or_default()
    }
}

impl fmt::Debug for PluginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PluginError")
            .field("command", &self.command)
            .field("problem", &self.problem)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::config::ExecAuthCluster;
    use rstest::rstest;
    use serde_json::Value;

    const ALWAYS: Option<ExecInteractiveMode> = Some(ExecInteractiveMode::Always);
    const NEVER: Option<ExecInteractiveMode> = Some(ExecInteractiveMode::Never);
    const IF_AVAILABLE: Option<ExecInteractiveMode> = Some(ExecInteractiveMode::IfAvailable);

    #[rstest]
    #[case(NEVER, true, Ok(false))]
    #[case(IF_AVAILABLE, true, Ok(true))]
    #[case(IF_AVAILABLE, false, Ok(false))]
    #[case(None, false, Ok(false))]
    #[case(ALWAYS, true, Ok(true))]
    #[case(ALWAYS, false, Err(PluginProblem::NoTerminal))]
    fn plugin_is_told_truthfully_whether_there_is_a_terminal(
        #[case] mode: Option<ExecInteractiveMode>,
        #[case] is_terminal: bool,
        #[case] expected: Result<bool, PluginProblem>,
    ) {
        assert_eq!(is_interactive(mode.as_ref(), is_terminal), expected);
    }

    #[test]
    fn cluster_is_told_only_to_a_plugin_that_wants_it() {
        let cluster = ExecAuthCluster { server: Some("https://c2".into()), ..Default::default() };
        let mut exec = ExecConfig { cluster: Some(cluster), ..Default::default() };
        let info = |exec: &ExecConfig| serde_json::from_str::<Value>(&exec_info(exec, false, true)).unwrap();
        let spec = json!({ "interactive": false });
        assert_eq!(info(&exec), json!({ "kind": "ExecCredential", "apiVersion": API_VERSION, "spec": spec }));
        exec.provide_cluster_info = true;
        let cluster = &info(&exec)["spec"]["cluster"];
        assert_eq!(cluster["server"], "https://c2");
        assert_eq!(cluster["disable-compression"], true);
    }

    #[rstest]
    #[case::json(r#"{"apiVersion": "v1", "status": {"token": " t0ken\n"}}"#, Ok((Some("t0ken"), false)))]
    #[case::yaml("apiVersion: v1\nstatus:\n  token: t0ken\n", Ok((Some("t0ken"), false)))]
    #[case::certificate("{apiVersion: v1, status: IDENTITY}", Ok((None, true)))]
    #[case::invalid_certificate(
        "{apiVersion: v1, status: {clientCertificateData: a, clientKeyData: b}}",
        Err(PluginProblem::Identity(IdentityProblem::NoCertificate))
    )]
    #[case::half("{apiVersion: v1, status: {clientCertificateData: a}}", Err(PluginProblem::NoCredential))]
    #[case::empty("{apiVersion: v1, status: {token: ''}}", Err(PluginProblem::NoCredential))]
    #[case::no_status("apiVersion: v1", Err(PluginProblem::NoCredential))]
    #[case::no_version("status: {token: t0ken}", Err(PluginProblem::OtherVersion("v1".into())))]
    #[case::other_version("{apiVersion: v2, status: {token: t}}", Err(PluginProblem::OtherVersion("v1".into())))]
    #[case::text("t0ken", Err(PluginProblem::NoCredential))]
    #[case::nothing("", Err(PluginProblem::NoCredential))]
    #[case::time(
        "{apiVersion: v1, status: {token: t0ken, expirationTimestamp: soon}}",
        Err(PluginProblem::InvalidTime)
    )]
    fn output_of_plugins(
        #[case] stdout: &str,
        #[case] expected: Result<(Option<&str>, bool), PluginProblem>,
    ) {
        let identity = rcgen::generate_simple_self_signed(["c2".to_owned()]).unwrap();
        let identity = json!({
            "clientCertificateData": identity.cert.pem(),
            "clientKeyData": identity.signing_key.serialize_pem(),
        });
        let parsed = parse(stdout.replace("IDENTITY", &identity.to_string()).as_bytes(), "v1");
        let parsed = parsed.as_ref().map(|credential| {
            (credential.token.as_ref().map(ExposeSecret::expose_secret), credential.identity.is_some())
        });
        assert_eq!(parsed.map_err(Clone::clone), expected);
    }
}
