//! One context of a kubeconfig: which cluster it is about, and how this machine reaches it.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::Config;
use kube::config::{Cluster, KubeConfigOptions, Kubeconfig, KubeconfigError};
use mcsa_client::credential::pem_bundle;

/// A context, and the cluster that it names. Plain data, but for the kubeconfig itself.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    /// The kubeconfig file, where a flag named one.
    pub file: Option<PathBuf>,
    /// Name of the context.
    pub context: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Name of its cluster.
    pub cluster_name: String,
    /// URL of the API server.
    pub server: String,
    /// The PEM bundle that its certificate is verified with. None: the system's own roots.
    pub ca_bundle: Option<String>,
    /// Whether its certificate is not verified at all.
    pub insecure: bool,
    /// Name that its certificate is verified for.
    pub tls_server_name: Option<String>,
    /// Proxy on this machine's way there.
    pub proxy_url: Option<String>,
    /// All of it.
    pub kubeconfig: Kubeconfig,
}

/// No context could be chosen.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ChoiceError {
    place: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("can't be read: {0}")]
    Unreadable(String),
    // The parser's own message quotes the text, and with it credentials.
    #[error("is not the YAML of a kubeconfig")]
    NotAKubeconfig,
    #[error("has no current context; choose one with {flag}: {}", list(contexts))]
    NoCurrentContext { flag: String, contexts: Vec<String> },
    #[error("has no context {context:?}; choose one with {flag}: {}", list(contexts))]
    NoSuchContext { context: String, flag: String, contexts: Vec<String> },
    #[error("context {0} names a cluster that is not there, or that has no server")]
    NoCluster(String),
    #[error("the certificate authority of cluster {0} can't be used: {1}")]
    NoAuthority(String, String),
    #[error("context {0} can't be used: {1}")]
    Unusable(String, String),
}

impl Chosen {
    /// The context that the flags name, else the current one. `flags` is what the flags' names
    /// begin with, for the messages: `--target-`, or `--`.
    ///
    /// # Errors
    /// When there is no such kubeconfig or context.
    pub fn load(file: Option<&Path>, context: Option<&str>, flags: &str) -> Result<Self, ChoiceError> {
        Self::choose(read(file)?, context, flags)
            .map(|chosen| Self { file: file.map(Path::to_owned), ..chosen })
            .map_err(|problem| ChoiceError { place: place(file), problem })
    }

    /// A connection to its cluster, under the cluster's name.
    ///
    /// # Errors
    /// When its credentials or its CA can't be used.
    pub async fn connect(&self) -> anyhow::Result<crate::cluster::Cluster> {
        self.connect_as(&self.cluster_name).await
    }

    /// A connection to its cluster, under this name. A credential plugin that it runs, or a person who is
    /// asked by one, keeps nobody else waiting.
    ///
    /// # Errors
    /// When its credentials or its CA can't be used.
    pub async fn connect_as(&self, name: &str) -> anyhow::Result<crate::cluster::Cluster> {
        let (name, identity) = (name.to_owned(), format!("context {}", self.context));
        let config = self.config().await?;
        let connect = move || crate::cluster::Cluster::new(&name, &identity, config);
        Ok(tokio::task::spawn_blocking(connect).await??)
    }

    fn choose(kubeconfig: Kubeconfig, context: Option<&str>, flags: &str) -> Result<Self, Problem> {
        let contexts = || kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
        let flag = || format!("{flags}context");
        let name = match context.or(kubeconfig.current_context.as_deref()) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => return Err(Problem::NoCurrentContext { flag: flag(), contexts: contexts() }),
        };
        let Some(context) = kubeconfig.contexts.iter().find(|named| named.name == name) else {
            return Err(Problem::NoSuchContext { context: name, flag: flag(), contexts: contexts() });
        };
        let (cluster_name, namespace) = match &context.context {
            Some(context) => (context.cluster.clone(), context.namespace.clone()),
            None => return Err(Problem::NoCluster(name)),
        };
        let cluster = kubeconfig.clusters.iter().find(|named| named.name == cluster_name);
        let Some((cluster, server)) = cluster
            .and_then(|named| named.cluster.as_ref())
            .and_then(|cluster| Some((cluster, cluster.server.clone()?)))
        else {
            return Err(Problem::NoCluster(name));
        };
        Ok(Self {
            file: None,
            context: name,
            namespace,
            ca_bundle: ca_bundle(cluster)
                .map_err(|problem| Problem::NoAuthority(cluster_name.clone(), problem))?,
            cluster_name,
            server,
            insecure: cluster.insecure_skip_tls_verify == Some(true),
            tls_server_name: cluster.tls_server_name.clone().filter(|name| !name.is_empty()),
            proxy_url: cluster.proxy_url.clone().filter(|url| !url.is_empty()),
            kubeconfig,
        })
    }

    /// How this machine connects there.
    ///
    /// # Errors
    /// When the context is not complete.
    pub async fn config(&self) -> Result<Config, ChoiceError> {
        let options = KubeConfigOptions { context: Some(self.context.clone()), ..Default::default() };
        Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options).await.map_err(|error| ChoiceError {
            place: place(self.file.as_deref()),
            problem: Problem::Unusable(self.context.clone(), error.to_string()),
        })
    }

    /// kubectl, with the flags that make it use this context.
    pub fn kubectl(&self) -> String {
        let file =
            self.file.as_ref().map(|file| format!(" --kubeconfig {}", shell_quote(&file.to_string_lossy())));
        format!("kubectl{} --context {}", file.unwrap_or_default(), shell_quote(&self.context))
    }
}

/// The names of all contexts, in their order.
///
/// # Errors
/// When there is no such kubeconfig.
pub fn contexts(file: Option<&Path>) -> Result<Vec<String>, ChoiceError> {
    Ok(read(file)?.contexts.into_iter().map(|named| named.name).collect())
}

fn read(file: Option<&Path>) -> Result<Kubeconfig, ChoiceError> {
    let read = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    read.map_err(|error| ChoiceError { place: place(file), problem: unread(&error) })
}

/// A word as a shell reads it back.
pub fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn place(file: Option<&Path>) -> String {
    match (file, std::env::var_os("KUBECONFIG")) {
        (Some(file), _) => format!("kubeconfig {}", file.display()),
        (None, Some(files)) if !files.is_empty() => format!("kubeconfig {}", files.to_string_lossy()),
        _ => "kubeconfig ~/.kube/config".into(),
    }
}

fn list(contexts: &[String]) -> String {
    if contexts.is_empty() { "there is none".into() } else { contexts.join(", ") }
}

fn unread(error: &KubeconfigError) -> Problem {
    match error {
        KubeconfigError::ReadConfig(error, path) => {
            Problem::Unreadable(format!("{}: {error}", path.display()))
        }
        KubeconfigError::Parse(_) => Problem::NotAKubeconfig,
        other => Problem::Unreadable(other.to_string()),
    }
}

fn ca_bundle(cluster: &Cluster) -> Result<Option<String>, String> {
    let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let pem = match (set(&cluster.certificate_authority_data), set(&cluster.certificate_authority)) {
        (Some(data), _) => STANDARD.decode(data).map_err(|error| error.to_string())?,
        (None, Some(path)) => std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?,
        (None, None) => return Ok(None),
    };
    pem_bundle(pem).map(Some).ok_or_else(|| "there is no PEM certificate in it".to_owned())
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
current-context: admin@one
";

    fn choose(text: &str, context: Option<&str>) -> Result<Chosen, String> {
        let kubeconfig = Kubeconfig::from_yaml(text).unwrap();
        Chosen::choose(kubeconfig, context, "--source-").map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_current_context_or_the_named_one() {
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
        "no context \"three\"; choose one with --source-context: admin@one, admin@two, lost"
    )]
    #[case(TWO, Some("lost"), "context lost names a cluster that is not there")]
    #[case("contexts: []", None, "no current context; choose one with --source-context: there is none")]
    fn what_is_not_there(#[case] text: &str, #[case] context: Option<&str>, #[case] said: &str) {
        let error = choose(text, context).unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    #[rstest]
    #[case("c1", "c1")]
    #[case("kind-a@b/c", "kind-a@b/c")]
    #[case("two words", "'two words'")]
    #[case("it's", r"'it'\''s'")]
    #[case("$(id)", "'$(id)'")]
    fn words_for_a_shell(#[case] word: &str, #[case] quoted: &str) {
        assert_eq!(shell_quote(word), quoted);
    }
}
