//! What is refused before anything is connected to. All that it needs is in the flags and the
//! kubeconfigs, and a [`Plan`] comes from nowhere else.

use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::names::is_dns_subdomain;

use super::flags::Flags;
use crate::cluster::kubeconfig::Chosen;
use crate::cluster::reach::{self, Reach};

/// Names that service accounts or Secrets of the system namespace have already where the source is
/// a target too: a link's identity must not get their rights.
const TAKEN: [&str; 5] = ["default", "importer", "launcher", webhook::SERVICE, webhook::CERTIFICATE];

/// The import of a link is named after the source, and its Secret gets `-token`.
const LONGEST_SOURCE_NAME: usize = 247;

/// Which link a command is about, after all that can be refused without asking a cluster was not.
#[derive(Clone, Debug)]
pub struct Plan {
    target: Side,
    source: Side,
    flags: Flags,
}

impl Plan {
    pub fn target(&self) -> &Side {
        &self.target
    }

    pub fn source(&self) -> &Side {
        &self.source
    }

    pub fn flags(&self) -> &Flags {
        &self.flags
    }
}

/// How the target reaches the source.
#[derive(Clone, Debug)]
pub struct Way {
    endpoint: Endpoint,
    same_host_only: bool,
}

impl Way {
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it works only for an importer on this machine.
    pub fn same_host_only(&self) -> bool {
        self.same_host_only
    }
}

/// One of the two clusters.
#[derive(Clone, Debug)]
pub struct Side {
    name: String,
    chosen: Chosen,
}

impl Side {
    /// What the other cluster calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }
}

/// Why there is nothing to link, and the command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The name can't be that of a Kubernetes object.
    #[error(
        "{cluster:?} can't be the name of the {side}: it takes a DNS-1123 subdomain (lower-case letters, digits, - \
         and .), at most {LONGEST_SOURCE_NAME} characters long; run: {mend}"
    )]
    Name { cluster: String, side: &'static str, mend: String },
    /// The name is that of something else.
    #[error(
        "{name} can't be the name of the target: in {SYSTEM_NAMESPACE} it is the name of something else; run: {mend}"
    )]
    Taken { name: String, mend: String },
    /// One context for both.
    #[error(
        "target and source are the same context {context}; choose another with --target-context or --source-context, \
         or pass --allow-self"
    )]
    SameContext { context: String },
    /// One name for both.
    #[error("target and source are both called {name}; give one of them another name: {mend}")]
    SameName { name: String, mend: String },
    /// An address that is no address.
    #[error("{cluster}: {what} {problem}")]
    Address { cluster: String, what: &'static str, problem: String },
    /// An address that only the source itself can reach.
    #[error("{cluster}: {url} is {nature}, which {target} can't reach; give an address that it can: {mend}")]
    Unreachable { cluster: String, url: String, nature: &'static str, target: String, mend: String },
    /// A certificate that nobody would verify.
    #[error(
        "{cluster}: context {context} has insecure-skip-tls-verify, and a link always verifies; give the CA that \
         signed the API server's certificate: {mend}"
    )]
    Unverified { cluster: String, context: String, mend: String },
}

/// The plan, or why there is none.
///
/// # Errors
/// When a name or the pair can't be used.
pub fn plan(flags: Flags, target: Chosen, source: Chosen) -> Result<Plan, Refusal> {
    if !flags.allow_self && (&target.file, &target.context) == (&source.file, &source.context) {
        return Err(Refusal::SameContext { context: target.context });
    }
    let target = self::target(&flags, target)?;
    let source = side(&flags, "source", "--source-name", flags.source.name.as_deref(), source)?;
    if !flags.allow_self && target.name == source.name {
        let mend = flags.again_with("--source-name", &format!("{}-source", source.name));
        return Err(Refusal::SameName { name: source.name, mend });
    }
    Ok(Plan { target, source, flags })
}

/// The target alone.
///
/// # Errors
/// When its name can't be used.
pub fn target(flags: &Flags, chosen: Chosen) -> Result<Side, Refusal> {
    let target = side(flags, "target", "--target-name", flags.target.name.as_deref(), chosen)?;
    if TAKEN.contains(&target.name.as_str()) {
        let mend = flags.again_with("--target-name", &format!("{}-cluster", target.name));
        return Err(Refusal::Taken { name: target.name, mend });
    }
    Ok(target)
}

fn side(
    flags: &Flags,
    side: &'static str,
    flag: &str,
    given: Option<&str>,
    chosen: Chosen,
) -> Result<Side, Refusal> {
    let name = given.unwrap_or(&chosen.cluster_name).to_owned();
    if is_dns_subdomain(&name) && name.len() <= LONGEST_SOURCE_NAME {
        return Ok(Side { name, chosen });
    }
    let mend = flags.again_with(flag, &similar(&name).unwrap_or_else(|| "NAME".into()));
    Err(Refusal::Name { cluster: name, side, mend })
}

/// A valid name like this one, such as managed clusters' kubeconfigs don't have.
fn similar(name: &str) -> Option<String> {
    let name: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .take(LONGEST_SOURCE_NAME)
        .collect();
    let labels: Vec<_> = name.split('.').map(|label| label.trim_matches('-')).collect();
    Some(labels.join(".")).filter(|name| is_dns_subdomain(name))
}

/// The way from the target to the source. `ca_file` is what is in the file that the flag names.
///
/// # Errors
/// When an address can't be used, or nothing verifies the certificate.
pub fn way(plan: &Plan, ca_file: Option<String>) -> Result<Way, Refusal> {
    let Plan { target, source, flags } = plan;
    let (chosen, args) = (&source.chosen, &flags.way);
    let address = |what, problem| Refusal::Address { cluster: source.name.clone(), what, problem };
    let given = args.source_server.is_some();
    let server = args.source_server.clone().unwrap_or_else(|| chosen.server.clone());
    let what = if given { "--source-server" } else { "the kubeconfig's server" };
    let reach = reach::of(&server).map_err(|problem| address(what, problem))?;
    let same_host = reach::of(&target.chosen.server) == Ok(Reach::Loopback);
    let unreachable = |url: &str, nature, flag: &str, value: &str| Refusal::Unreachable {
        cluster: source.name.clone(),
        url: url.to_owned(),
        nature,
        target: target.name.clone(),
        mend: flags.again_with(flag, value),
    };
    match reach {
        Reach::Unspecified => {
            let nature = "no address of a machine";
            return Err(unreachable(&server, nature, "--source-server", &elsewhere(&server)));
        }
        Reach::Loopback if !given && !same_host => {
            return Err(unreachable(&server, "a loopback address", "--source-server", &elsewhere(&server)));
        }
        Reach::Loopback | Reach::Anywhere => {}
    }
    // The kubeconfig's proxy is on the way from here to the kubeconfig's server.
    let proxy_url = args.proxy_url.clone().or_else(|| chosen.proxy_url.clone().filter(|_| !given));
    let proxy_reach = match &proxy_url {
        Some(url) => reach::of_proxy(url).map_err(|problem| address("the proxy", problem))?,
        None => Reach::Anywhere,
    };
    if let (Some(url), None, Reach::Loopback | Reach::Unspecified, false) =
        (&proxy_url, &args.proxy_url, proxy_reach, same_host)
    {
        return Err(unreachable(url, "a proxy on a loopback address", "--proxy-url", "URL"));
    }
    if chosen.insecure && ca_file.is_none() {
        return Err(Refusal::Unverified {
            cluster: source.name.clone(),
            context: chosen.context.clone(),
            mend: flags.again_with("--source-ca-file", "FILE"),
        });
    }
    let endpoint = Endpoint {
        server,
        ca_bundle: ca_file.or_else(|| chosen.ca_bundle.clone()),
        tls_server_name: args.tls_server_name.clone().or_else(|| chosen.tls_server_name.clone()),
        proxy_url,
    };
    Ok(Way { endpoint, same_host_only: reach == Reach::Loopback || proxy_reach == Reach::Loopback })
}

/// An address like this one for people to fill in.
pub fn elsewhere(server: &str) -> String {
    let port = server.parse().ok().and_then(|uri: http::Uri| uri.port_u16());
    port.map_or_else(|| "https://ADDRESS".into(), |port| format!("https://ADDRESS:{port}"))
}

#[cfg(test)]
mod tests;
