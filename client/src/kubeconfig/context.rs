//! The context in use: its cluster and user, and the config that they make.

use http::Uri;
use kube::Config;
use kube::config::ExecAuthCluster;
use rustls::pki_types::ServerName;

use super::certificates::{CaBundle, decode_pem};
use super::document::Kubeconfig;
use super::endpoint::Endpoint;
use super::entry::{Entry, Fields};
use super::field_problem::{FieldProblem, INSECURE};
use super::place::EntryKind;
use super::policy::Policy;
use super::problem::Problem;
use super::user::{self, read_file};
use super::{exec, proxy, url};

const CA_DATA: &str = "certificate-authority-data";
const CA_FILE: &str = "certificate-authority";

/// A context that was read. *Absent:* `Debug`, which would print credentials.
#[derive(Clone)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The name of its cluster.
    pub cluster: String,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// How to reach the cluster.
    pub endpoint: Endpoint,
    /// The config for a client. Files have been read, except that a credential plugin has not run.
    pub config: Config,
    /// What was left out of it.
    pub warnings: Vec<String>,
}

impl Kubeconfig {
    /// Reads a context. `None`: the current one. Other entries are ignored.
    ///
    /// # Errors
    /// If there is no such context, or it can't be used under this policy.
    pub fn context(&self, name: Option<&str>, policy: Policy) -> Result<Context, Problem> {
        self.context_in(self, name, policy)
    }

    /// Like [`Self::context`], with the cluster of this name in another kubeconfig.
    pub(crate) fn context_in(
        &self,
        clusters: &Self,
        name: Option<&str>,
        policy: Policy,
    ) -> Result<Context, Problem> {
        let entry = self.choose(name)?;
        let fields = entry.fields()?;
        let text = |field| fields.text(field).map_err(|problem| entry.problem(problem));
        let missing = |kind, name: &str| entry.problem(FieldProblem::Missing(kind, name.to_owned()));
        let cluster = text("cluster")?.ok_or_else(|| entry.problem(FieldProblem::Empty("cluster")))?;
        let found = clusters.find(EntryKind::Cluster, &cluster);
        let cluster = found.ok_or_else(|| missing(EntryKind::Cluster, &cluster))?;
        let find_user =
            |user: String| self.find(EntryKind::User, &user).ok_or_else(|| missing(EntryKind::User, &user));
        let user = text("user")?.map(find_user).transpose()?;
        let namespace = text("namespace")?;

        let mut warnings = Vec::new();
        let cluster_fields = cluster.fields()?;
        let (endpoint, mut config) = read_cluster(cluster, &cluster_fields, policy, &mut warnings)
            .map_err(|problem| cluster.problem(problem))?;
        if let Some(user) = user {
            let cluster_info = || exec_cluster(&cluster_fields, &endpoint, &config);
            let credentials = user::read(user, &user.fields()?, policy, cluster_info);
            config.auth_info = credentials.map_err(|problem| user.problem(problem))?;
        }
        config.default_namespace = namespace.clone().unwrap_or_else(|| "default".into());
        Ok(Context {
            name: entry.name().to_owned(),
            cluster: cluster.name().to_owned(),
            namespace,
            endpoint,
            config,
            warnings,
        })
    }

    fn choose(&self, name: Option<&str>) -> Result<&Entry, Problem> {
        let contexts = || self.contexts().map(|entry| entry.name().to_owned()).collect();
        let name = name.filter(|name| !name.is_empty()).or(self.current_context());
        match name {
            _ if self.contexts().len() == 0 => Err(Problem::NoContexts(self.files.clone())),
            None => Err(Problem::NoCurrentContext { files: self.files.clone(), contexts: contexts() }),
            Some(name) => self.find(EntryKind::Context, name).ok_or_else(|| Problem::NoSuchContext {
                files: self.files.clone(),
                context: name.to_owned(),
                contexts: contexts(),
            }),
        }
    }
}

/// A config of single values, as separate keys of a Secret have them.
pub(crate) fn config_of_values(
    server: &str,
    ca: Option<(&'static str, &[u8])>,
    token: &str,
    namespace: Option<&str>,
) -> Result<Config, FieldProblem> {
    let mut config = Config::new(server_url(server.trim(), Policy::Data)?);
    config.proxy_url = proxy::proxy_for(&config.cluster_url, None)?;
    let authority = ca.map(|(field, pem)| CaBundle::parse(field, pem)).transpose()?;
    config.root_cert = authority.map(|authority| authority.der().to_vec());
    config.auth_info.token = user::valid_token("token", Some(token.trim().to_owned()))?.map(Into::into);
    config.default_namespace = namespace.unwrap_or("default").to_owned();
    Ok(config)
}

fn read_cluster(
    cluster: &Entry,
    fields: &Fields<'_>,
    policy: Policy,
    warnings: &mut Vec<String>,
) -> Result<(Endpoint, Config), FieldProblem> {
    policy.check(fields, &[], &[CA_FILE])?;
    let is_insecure = fields.flag(INSECURE)?;
    policy.check_verification(is_insecure)?;
    let authority = match (fields.text(CA_DATA)?, fields.text(CA_FILE)?) {
        (Some(data), _) => Some(CaBundle::parse(CA_DATA, &decode_pem(CA_DATA, &data)?)?),
        (None, Some(path)) => Some(CaBundle::parse(CA_FILE, &read_file(CA_FILE, cluster.path(&path))?)?),
        (None, None) => None,
    };
    warnings.extend(authority.as_ref().and_then(CaBundle::warning));
    let server = fields.text("server")?.ok_or(FieldProblem::Empty("server"))?;
    let server = with_scheme(server.trim(), authority.is_some() || is_insecure);
    if url::has_credentials(&server) {
        return Err(FieldProblem::ServerWithUser);
    }
    let endpoint = Endpoint {
        server,
        ca_bundle: authority.as_ref().map(CaBundle::pem),
        tls_server_name: fields.text("tls-server-name")?,
        proxy_url: fields.text("proxy-url")?,
    };
    if endpoint.tls_server_name.as_deref().is_some_and(|name| ServerName::try_from(name).is_err()) {
        return Err(FieldProblem::InvalidServerName);
    }
    let mut config = Config::new(server_url(&endpoint.server, policy)?);
    config.proxy_url = proxy::proxy_for(&config.cluster_url, endpoint.proxy_url.as_deref())?;
    config.root_cert = authority.map(|authority| authority.der().to_vec());
    config.accept_invalid_certs = is_insecure;
    config.disable_compression = fields.flag("disable-compression")?;
    config.tls_server_name = endpoint.tls_server_name.clone();
    Ok((endpoint, config))
}

/// The server with the scheme that client-go adds if there is none.
fn with_scheme(server: &str, is_tls: bool) -> String {
    match (server.contains("://"), is_tls) {
        (true, _) => server.to_owned(),
        (false, true) => format!("https://{server}"),
        (false, false) => format!("http://{server}"),
    }
}

pub(crate) fn server_url(server: &str, policy: Policy) -> Result<Uri, FieldProblem> {
    let url: Option<Uri> = server.parse().ok();
    let url = url.filter(|url| {
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        // `http` accepts any text as a port.
        has_host && url.authority().is_some_and(|authority| has_valid_port(authority.as_str()))
    });
    let url = url.ok_or(FieldProblem::InvalidServer)?;
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if !policy.requires_https() => Ok(url),
        Some("http") => Err(FieldProblem::NotHttps),
        _ => Err(FieldProblem::InvalidServer),
    }
}

fn has_valid_port(authority: &str) -> bool {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    after_host.rsplit_once(':').is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok())
}

/// What a credential plugin is told about the cluster.
fn exec_cluster(fields: &Fields<'_>, endpoint: &Endpoint, config: &Config) -> ExecAuthCluster {
    ExecAuthCluster {
        server: Some(endpoint.server.clone()),
        insecure_skip_tls_verify: config.accept_invalid_certs.then_some(true),
        certificate_authority_data: endpoint.ca_bundle.clone().map(String::into_bytes),
        proxy_url: endpoint.proxy_url.clone(),
        tls_server_name: endpoint.tls_server_name.clone(),
        config: exec::extension(fields).unwrap_or_default(),
    }
}
