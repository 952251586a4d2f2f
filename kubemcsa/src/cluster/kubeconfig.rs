//! A selected context of a kubeconfig.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap_complete::engine::CompletionCandidate;
use kube::Config;
use mcsa_client::kubeconfig::{Context, Entry, Files, Kubeconfig, Policy, Problem, describe, list};
use mcsa_credentials::credential::Endpoint;

use crate::cli::output;

/// The files that were read. Target and source are often in the same one.
static READ: Mutex<Option<HashMap<Files, Arc<Kubeconfig>>>> = Mutex::new(None);

/// A context with its cluster and user.
#[derive(Clone, Debug)]
pub(crate) struct ChosenContext {
    /// The kubeconfig file, if a flag names it.
    pub(crate) file: Option<PathBuf>,
    pub(crate) context: String,
    pub(crate) namespace: Option<String>,
    pub(crate) cluster_name: String,
    /// URL of the API server.
    pub(crate) server: String,
    /// CAs in PEM; `None`: those of the system.
    pub(crate) ca_bundle: Option<String>,
    /// Whether the certificate is not verified.
    pub(crate) insecure: bool,
    pub(crate) tls_server_name: Option<String>,
    /// Proxy between this machine and the API server.
    pub(crate) proxy_url: Option<String>,
    /// The connection settings for this machine.
    pub(crate) config: Config,
}

/// No context could be selected.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) struct ContextError {
    files: Files,
    /// The prefix of flags: `--target-` or `--`.
    flags: String,
    problem: Problem,
}

impl ChosenContext {
    /// Selects the context that the flags name, or the current one. `flags` is the prefix of the flags in messages:
    /// `--target-` or `--`.
    pub(crate) fn load(
        file: Option<&Path>,
        context: Option<&str>,
        flags: &str,
    ) -> Result<Self, ContextError> {
        let read = read(file, flags)?.context(context, Policy::OwnFiles);
        let Context { name, cluster, namespace, endpoint, config, warnings } =
            read.map_err(|problem| ContextError { files: files(file), flags: flags.to_owned(), problem })?;
        for warning in warnings {
            output::warn(&cluster, &warning);
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            context: name,
            namespace,
            cluster_name: cluster,
            server: endpoint.server,
            ca_bundle: endpoint.ca_bundle,
            insecure: config.accept_invalid_certs,
            tls_server_name: endpoint.tls_server_name,
            proxy_url: endpoint.proxy_url,
            config,
        })
    }

    /// Connects to the cluster. Messages call it by its name in the kubeconfig.
    pub(crate) async fn connect(&self) -> anyhow::Result<crate::cluster::Cluster> {
        self.connect_as(&self.cluster_name).await
    }

    /// Connects to the cluster. Messages call it `name`.
    pub(crate) async fn connect_as(&self, name: &str) -> anyhow::Result<crate::cluster::Cluster> {
        let identity = format!("context {}", self.context);
        Ok(crate::cluster::Cluster::connect(name, &identity, self.config.clone()).await?)
    }

    /// How this machine reaches the cluster.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            server: self.server.clone(),
            ca_bundle: self.ca_bundle.clone(),
            tls_server_name: self.tls_server_name.clone(),
            proxy_url: self.proxy_url.clone(),
        }
    }

    /// The kubectl command with the flags for this context.
    pub(crate) fn kubectl(&self) -> String {
        let file =
            self.file.as_ref().map(|file| format!(" --kubeconfig {}", shell_quote(&file.to_string_lossy())));
        format!("kubectl{} --context {}", file.unwrap_or_default(), shell_quote(&self.context))
    }
}

#[cfg(test)]
impl Default for ChosenContext {
    fn default() -> Self {
        Self {
            file: None,
            context: String::new(),
            namespace: None,
            cluster_name: String::new(),
            server: String::new(),
            ca_bundle: None,
            insecure: false,
            tls_server_name: None,
            proxy_url: None,
            config: Config::new(http::Uri::from_static("https://c2")),
        }
    }
}

impl ContextError {
    fn message(&self) -> String {
        let (files, flags) = (describe(self.files.paths()), &self.flags);
        match &self.problem {
            Problem::NotFound(_) => {
                format!("{files}: file not found; choose another one with {flags}kubeconfig or KUBECONFIG")
            }
            Problem::NoContexts(_) => {
                format!("{files} has no contexts; choose another file with {flags}kubeconfig or KUBECONFIG")
            }
            Problem::NoCurrentContext { contexts, .. } => {
                format!("{files} has no current context; choose one with {flags}context: {}", list(contexts))
            }
            Problem::NoSuchContext { context, contexts, .. } => format!(
                "{files} has no context {context:?}; choose one with {flags}context: {}",
                list(contexts)
            ),
            Problem::Unreadable { .. } => self.problem.to_string(),
            // It begins with the place.
            problem => format!("kubeconfig {problem}"),
        }
    }
}

/// Reads the kubeconfig that a flag names, or that kubectl would read, once. `flags`: see [`ChosenContext::load`].
pub(crate) fn read(file: Option<&Path>, flags: &str) -> Result<Arc<Kubeconfig>, ContextError> {
    let files = files(file);
    let mut all = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_default();
    if let Some(read) = all.get(&files) {
        return Ok(read.clone());
    }
    match files.read() {
        Ok(read) => Ok(all.entry(files).or_insert(Arc::new(read)).clone()),
        Err(problem) => Err(ContextError { files, flags: flags.to_owned(), problem }),
    }
}

fn files(file: Option<&Path>) -> Files {
    file.map_or_else(Files::from_env, Files::from_file)
}

/// The contexts, for shell completion.
pub(crate) fn contexts() -> Vec<CompletionCandidate> {
    let Ok(kubeconfig) = read(None, "--") else { return Vec::new() };
    let candidate = |context: &Entry| {
        let cluster = context.text("cluster").map(|cluster| format!("cluster {cluster}"));
        CompletionCandidate::new(context.name()).help(cluster.map(Into::into))
    };
    kubeconfig.contexts().map(candidate).collect()
}

/// Quotes a word for a shell.
pub(crate) fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TWO: &str = "
clusters:
- {name: one, cluster: {server: 'https://one'}}
- {name: two, cluster: {server: 'https://two', insecure-skip-tls-verify: true, proxy-url: ''}}
contexts:
- {name: admin@one, context: {cluster: one, user: x}}
- {name: admin@two, context: {cluster: two, user: x, namespace: team}}
- {name: lost, context: {cluster: nowhere, user: x}}
- {name: nobody, context: {cluster: one, user: nobody}}
users:
- {name: x}
current-context: admin@one
";

    fn load(text: &str, context: Option<&str>) -> Result<ChosenContext, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, text).unwrap();
        ChosenContext::load(Some(&file), context, "--source-").map_err(|error| error.to_string())
    }

    #[test]
    fn current_or_named_context_is_selected() {
        let chosen = load(TWO, None).unwrap();
        assert_eq!((chosen.cluster_name.as_str(), chosen.server.as_str()), ("one", "https://one"));
        let chosen = load(TWO, Some("admin@two")).unwrap();
        assert_eq!((chosen.cluster_name.as_str(), chosen.insecure, chosen.proxy_url), ("two", true, None));
        assert_eq!(chosen.namespace.as_deref(), Some("team"));
    }

    #[rstest]
    #[case(
        TWO,
        Some("three"),
        "no context \"three\"; choose one with --source-context: admin@one, admin@two, lost, nobody"
    )]
    #[case(TWO, Some("lost"), "context lost: its cluster nowhere does not exist")]
    #[case(TWO, Some("nobody"), "context nobody: its user nobody does not exist")]
    #[case("current-context: one", None, "no contexts; choose another file with --source-kubeconfig")]
    #[case("contexts:\n\t- name: a", None, "/config:2:")]
    fn errors_name_the_file_and_the_flag(
        #[case] text: &str,
        #[case] context: Option<&str>,
        #[case] expected: &str,
    ) {
        let error = load(text, context).unwrap_err();
        assert!(error.contains(expected) && error.contains("/config"), "{error}");
    }

    #[rstest]
    #[case("c1", "c1")]
    #[case("kind-a@b/c", "kind-a@b/c")]
    #[case("two words", "'two words'")]
    #[case("it's", r"'it'\''s'")]
    #[case("$(id)", "'$(id)'")]
    fn words_are_quoted_for_the_shell_if_needed(#[case] word: &str, #[case] quoted: &str) {
        assert_eq!(shell_quote(word), quoted);
    }
}
