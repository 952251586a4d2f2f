//! Plans how the target reaches the source. Refuses whatever is invalid before any call to a cluster.

use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::url::{has_credentials, without_credentials};

use super::flags::Flags;
use super::plan::Plan;
use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::reach::{self, Reach};

/// How the target reaches the source.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    endpoint: Endpoint,
    same_host_only: bool,
    has_proxy_of_kubeconfig: bool,
}

impl Route {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it works only if the importer runs on this machine.
    pub(crate) fn same_host_only(&self) -> bool {
        self.same_host_only
    }

    /// Reports a proxy that no flag names.
    pub(crate) fn proxy_notice(&self, source: &str) -> Option<String> {
        let proxy = self.endpoint.proxy_url.as_deref().filter(|_| self.has_proxy_of_kubeconfig)?;
        let shown = without_credentials(proxy);
        let address = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
        Some(format!(
            "importers reach {source} through proxy {}, which the kubeconfig has; use --no-proxy if they need none",
            address.trim_end_matches('/')
        ))
    }

    /// Warns of a proxy's password, which each user of the link needs.
    pub(crate) fn password_warning(&self, source: &str) -> Option<String> {
        let proxy = self.endpoint.proxy_url.as_deref().filter(|url| has_credentials(url))?;
        Some(format!(
            "the Secrets of the link and of all imports from {source} contain the user and password of proxy {}",
            without_credentials(proxy)
        ))
    }
}

/// Why the target can't reach the source, and the command that fixes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("{cluster}: {field} {problem}")]
    InvalidUrl { cluster: String, field: &'static str, problem: String },
    #[error(
        "{cluster}: {url} is {kind}, which {target} can't reach; pass an address that it can reach: {fix}"
    )]
    Unreachable { cluster: String, url: String, kind: &'static str, target: String, fix: String },
    #[error(
        "{cluster}: {proxy} is a proxy on a loopback address, which {target} can't reach; if {target} reaches {cluster} \
         without a proxy: {without}; if it needs another proxy: {other}"
    )]
    LoopbackProxy { cluster: String, proxy: String, target: String, without: String, other: String },
    #[error(
        "{cluster}: context {context} has insecure-skip-tls-verify, but links always verify certificates; pass the CA \
         that signed the API server's certificate: {fix}"
    )]
    Unverified { cluster: String, context: String, fix: String },
}

/// Plans the route from the target to the source. `ca_file` is the content of the flag's file.
pub(crate) fn route(plan: &Plan, ca_file: Option<String>) -> Result<Route, RouteError> {
    let (target, source, flags) = (plan.target(), plan.source(), plan.flags());
    let (chosen, args) = (source.chosen(), &flags.route);
    let cluster = || source.name().to_owned();
    let invalid = |field, problem| RouteError::InvalidUrl { cluster: cluster(), field, problem };
    let same_host = reach::of(&target.chosen().server) == Ok(Reach::Loopback);

    let server = args.source_server.clone().unwrap_or_else(|| chosen.server.clone());
    let field = if args.source_server.is_some() { "--source-server" } else { "the kubeconfig's server" };
    let reach = reach::of(&server).map_err(|problem| invalid(field, problem))?;
    if let Some(kind) = unreachable_kind(reach, args.source_server.is_some() || same_host) {
        return Err(RouteError::Unreachable {
            cluster: cluster(),
            kind,
            target: target.name().to_owned(),
            fix: flags.with_flag("--source-server", &placeholder(&server)),
            url: server,
        });
    }
    let kubeconfig_proxy = kubeconfig_proxy(flags, chosen);
    let proxy_field = if args.proxy_url.is_some() { "--proxy-url" } else { "the kubeconfig's proxy-url" };
    let proxy_url = args.proxy_url.clone().or_else(|| kubeconfig_proxy.clone());
    let proxy_reach = match &proxy_url {
        Some(url) => reach::of_proxy(url).map_err(|problem| invalid(proxy_field, problem))?,
        None => Reach::Anywhere,
    };
    if let Some(proxy) = kubeconfig_proxy.as_deref().filter(|_| proxy_reach != Reach::Anywhere && !same_host)
    {
        return Err(RouteError::LoopbackProxy {
            cluster: cluster(),
            proxy: without_credentials(proxy),
            target: target.name().to_owned(),
            without: flags.with_switch("--no-proxy"),
            other: flags.with_flag("--proxy-url", "URL"),
        });
    }
    if chosen.insecure && ca_file.is_none() {
        return Err(RouteError::Unverified {
            cluster: cluster(),
            context: chosen.context.clone(),
            fix: flags.with_flag("--source-ca-file", "FILE"),
        });
    }
    let endpoint = Endpoint {
        server,
        ca_bundle: ca_file.or_else(|| chosen.ca_bundle.clone()),
        tls_server_name: args.tls_server_name.clone().or_else(|| chosen.tls_server_name.clone()),
        proxy_url,
    };
    Ok(Route {
        endpoint,
        same_host_only: reach == Reach::Loopback || proxy_reach == Reach::Loopback,
        has_proxy_of_kubeconfig: kubeconfig_proxy.is_some(),
    })
}

/// The kubeconfig's proxy, if the target uses it. It leads to the kubeconfig's server.
fn kubeconfig_proxy(flags: &Flags, chosen: &ChosenContext) -> Option<String> {
    let route = &flags.route;
    let is_replaced = route.no_proxy || route.proxy_url.is_some() || route.source_server.is_some();
    chosen.proxy_url.clone().filter(|_| !is_replaced)
}

/// Why the target can't reach the address. A loopback address is allowed on purpose, or on the same host.
fn unreachable_kind(reach: Reach, is_loopback_allowed: bool) -> Option<&'static str> {
    match reach {
        Reach::Unspecified => Some("an unspecified address"),
        Reach::Loopback if !is_loopback_allowed => Some("a loopback address"),
        Reach::Loopback | Reach::Anywhere => None,
    }
}

/// A placeholder for an address with the same port.
pub(crate) fn placeholder(server: &str) -> String {
    let port = server.parse().ok().and_then(|uri: http::Uri| uri.port_u16());
    port.map_or_else(|| "https://ADDRESS".into(), |port| format!("https://ADDRESS:{port}"))
}

#[cfg(test)]
mod tests;
