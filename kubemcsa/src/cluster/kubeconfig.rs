//! A selected context of a kubeconfig.

mod files;
mod user;

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap_complete::engine::CompletionCandidate;
use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use mcsa_credentials::credential::{Endpoint, pem_bundle};
use mcsa_credentials::proxy;

/// A context with its cluster and user.
#[derive(Clone, Debug, Default)]
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
    pub(crate) cluster: Cluster,
    pub(crate) user: AuthInfo,
}

/// No context could be selected.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub(crate) struct ContextError {
    place: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("file not found; choose another one with {flag} or KUBECONFIG")]
    NotFound { flag: String },
    #[error("can't be read: {0}")]
    Unreadable(String),
    // The parser's message may quote credentials.
    #[error("is not a valid kubeconfig; run kubectl config view to find the error")]
    NotAKubeconfig,
    #[error("has no contexts; choose another file with {flag} or KUBECONFIG")]
    NoContexts { flag: String },
    #[error("has no current context; choose one with {flag}: {}", contexts.join(", "))]
    NoCurrentContext { flag: String, contexts: Vec<String> },
    #[error("has no context {context:?}; choose one with {flag}: {}", contexts.join(", "))]
    NoSuchContext { context: String, flag: String, contexts: Vec<String> },
    #[error(
        "the cluster of context {0} does not exist or has no server; correct it, or choose another context"
    )]
    NoCluster(String),
    #[error("user {1} of context {0} does not exist; add it, or choose another context")]
    NoUser(String, String),
    #[error("the certificate authority of cluster {0} can't be used: {1}")]
    InvalidAuthority(String, String),
    #[error("context {0} can't be used: {1}")]
    Unusable(String, String),
}

impl ChosenContext {
    /// Selects the context that the flags name, or the current one. `flags` is the prefix of the flags in messages:
    /// `--target-` or `--`.
    pub(crate) fn load(
        file: Option<&Path>,
        context: Option<&str>,
        flags: &str,
    ) -> Result<Self, ContextError> {
        let kubeconfig = read(file, flags)?;
        Self::choose(kubeconfig, context, flags)
            .map(|chosen| Self { file: file.map(Path::to_owned), ..chosen })
            .map_err(|problem| ContextError { place: files::describe(&files::paths(file)), problem })
    }

    /// How this machine reaches the API server.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            server: self.server.clone(),
            ca_bundle: self.ca_bundle.clone(),
            tls_server_name: self.tls_server_name.clone(),
            proxy_url: self.proxy_url.clone(),
        }
    }

    /// Connects to the cluster. Messages call it by its name in the kubeconfig.
    pub(crate) async fn connect(&self) -> anyhow::Result<crate::cluster::Cluster> {
        self.connect_as(&self.cluster_name).await
    }

    /// Connects to the cluster. Messages call it `name`. A credential plugin that waits for the user does not block other
    /// tasks.
    pub(crate) async fn connect_as(&self, name: &str) -> anyhow::Result<crate::cluster::Cluster> {
        let (name, identity) = (name.to_owned(), format!("context {}", self.context));
        let config = self.config()?;
        let connect = move || crate::cluster::Cluster::new(&name, &identity, config);
        Ok(tokio::task::spawn_blocking(connect).await??)
    }

    fn choose(kubeconfig: Kubeconfig, context: Option<&str>, flags: &str) -> Result<Self, Problem> {
        let contexts = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
        let flag = || format!("{flags}context");
        if kubeconfig.contexts.is_empty() {
            return Err(Problem::NoContexts { flag: format!("{flags}kubeconfig") });
        }
        let name = match context.or(kubeconfig.current_context.as_deref()) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err(Problem::NoCurrentContext { flag: flag(), contexts: contexts() }),
        };
        let Some(context) = kubeconfig.contexts.iter().find(|named| named.name == name) else {
            return Err(Problem::NoSuchContext { context: name, flag: flag(), contexts: contexts() });
        };
        let Some(context) = &context.context else { return Err(Problem::NoCluster(name)) };
        let cluster_name = context.cluster.clone();
        let cluster = kubeconfig.clusters.iter().find(|named| named.name == cluster_name);
        let Some((cluster, server)) = cluster
            .and_then(|named| named.cluster.clone())
            .and_then(|cluster| cluster.server.clone().map(|server| (cluster, server)))
        else {
            return Err(Problem::NoCluster(name));
        };
        let user = match context.user.as_deref().filter(|user| !user.is_empty()) {
            None => AuthInfo::default(),
            Some(user) => match kubeconfig.auth_infos.iter().find(|named| named.name == user) {
                Some(named) => named.auth_info.clone().unwrap_or_default(),
                None => return Err(Problem::NoUser(name, user.to_owned())),
            },
        };
        Ok(Self {
            file: None,
            context: name,
            namespace: context.namespace.clone().filter(|namespace| !namespace.is_empty()),
            ca_bundle: ca_bundle(&cluster)
                .map_err(|problem| Problem::InvalidAuthority(cluster_name.clone(), problem))?,
            cluster_name,
            server,
            insecure: cluster.insecure_skip_tls_verify == Some(true),
            tls_server_name: cluster.tls_server_name.clone().filter(|name| !name.is_empty()),
            proxy_url: cluster.proxy_url.clone().filter(|url| !url.is_empty()),
            cluster,
            user,
        })
    }

    /// The connection settings for this machine.
    pub(crate) fn config(&self) -> Result<Config, ContextError> {
        self.try_config().map_err(|problem| ContextError {
            place: files::describe(&files::paths(self.file.as_deref())),
            problem: Problem::Unusable(self.context.clone(), problem),
        })
    }

    fn try_config(&self) -> Result<Config, String> {
        let server: Uri = self.server.parse().map_err(|_| format!("{:?} is not a URL", self.server))?;
        let mut config = Config::new(server);
        config.proxy_url = proxy::proxy_for(&config.cluster_url, self.proxy_url.as_deref())
            .map_err(|error| error.to_string())?;
        config.root_cert = self.ca_bundle.as_deref().map(certificates).transpose()?;
        config.accept_invalid_certs = self.insecure;
        config.tls_server_name = self.tls_server_name.clone();
        config.auth_info = user::credentials(self.user.clone(), &self.cluster)?;
        Ok(config)
    }

    /// The kubectl command with the flags for this context.
    pub(crate) fn kubectl(&self) -> String {
        let file =
            self.file.as_ref().map(|file| format!(" --kubeconfig {}", shell_quote(&file.to_string_lossy())));
        format!("kubectl{} --context {}", file.unwrap_or_default(), shell_quote(&self.context))
    }
}

/// Reads the kubeconfig that a flag names, or that kubectl would read. `flags`: see [`ChosenContext::load`].
pub(crate) fn read(file: Option<&Path>, flags: &str) -> Result<Kubeconfig, ContextError> {
    files::read(&files::paths(file), flags)
        .map_err(|(paths, problem)| ContextError { place: files::describe(&paths), problem })
}

/// The contexts, for shell completion.
pub(crate) fn contexts() -> Vec<CompletionCandidate> {
    read(None, "--")
        .map(|kubeconfig| kubeconfig.contexts)
        .unwrap_or_default()
        .into_iter()
        .map(|named| {
            let cluster = named.context.map(|context| format!("cluster {}", context.cluster));
            CompletionCandidate::new(named.name).help(cluster.map(Into::into))
        })
        .collect()
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

fn ca_bundle(cluster: &Cluster) -> Result<Option<String>, String> {
    let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let pem = match (set(&cluster.certificate_authority_data), set(&cluster.certificate_authority)) {
        (Some(data), _) => STANDARD.decode(user::single_line(&data)).map_err(|error| error.to_string())?,
        (None, Some(path)) => std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?,
        (None, None) => return Ok(None),
    };
    pem_bundle(pem).map(Some).ok_or_else(|| "it contains no PEM certificate".to_owned())
}

/// The certificates of a PEM bundle, in DER.
pub(super) fn certificates(bundle: &str) -> Result<Vec<Vec<u8>>, String> {
    let blocks = bundle.split("-----BEGIN CERTIFICATE-----").skip(1);
    let texts = blocks.map(|rest| rest.split_once("-----").map_or(rest, |(text, _)| text));
    let decoded = texts.map(|text| STANDARD.decode(user::single_line(text)));
    decoded
        .collect::<Result<_, _>>()
        .map_err(|error| format!("its certificate authority is not PEM: {error}"))
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

    fn choose(text: &str, context: Option<&str>) -> Result<ChosenContext, String> {
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        ChosenContext::choose(kubeconfig, context, "--source-").map_err(|problem| problem.to_string())
    }

    #[test]
    fn current_or_named_context_is_selected() {
        let chosen = choose(TWO, None).unwrap();
        assert_eq!((chosen.cluster_name.as_str(), chosen.server.as_str()), ("one", "https://one"));
        let chosen = choose(TWO, Some("admin@two")).unwrap();
        assert_eq!((chosen.cluster_name.as_str(), chosen.insecure, chosen.proxy_url), ("two", true, None));
        assert_eq!(chosen.namespace.as_deref(), Some("team"));
    }

    #[rstest]
    #[case(
        TWO,
        Some("three"),
        "no context \"three\"; choose one with --source-context: admin@one, admin@two, lost, nobody"
    )]
    #[case(TWO, Some("lost"), "the cluster of context lost does not exist")]
    #[case(TWO, Some("nobody"), "user nobody of context nobody does not exist")]
    #[case("current-context: one", None, "no contexts; choose another file with --source-kubeconfig")]
    fn missing_entries_are_reported(
        #[case] text: &str,
        #[case] context: Option<&str>,
        #[case] expected: &str,
    ) {
        let error = choose(text, context).unwrap_err();
        assert!(error.contains(expected), "{error}");
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
