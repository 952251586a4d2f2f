//! A connection to one cluster.

pub mod apply;
pub mod call;
pub mod crd;
pub mod delete;
pub mod deleter;
pub mod gone;
pub mod kubeconfig;
pub mod lease;
pub mod list;
pub mod object;
pub mod pod;
pub mod reach;

use k8s_openapi::api::core::v1::Namespace;
use kube::client::ClientBuilder;
use kube::client::retry::RetryPolicy;
use kube::{Api, Client, Config, ResourceExt};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use crate::cluster::call::{Call, CallError, DEADLINE, Plugin};

/// How many calls may be on their way.
const CALLS_AT_ONCE: usize = 64;

/// One cluster, as somebody in it.
#[derive(Clone)]
pub struct Cluster {
    /// What the lines about it are marked with.
    pub name: String,
    /// URL of its API server, and the proxy on the way there.
    pub address: String,
    /// As whom we call it, such as `context c1`.
    pub identity: String,
    /// The client.
    pub client: Client,
    plugin: Plugin,
}

impl Cluster {
    /// A client with our deadlines. Nothing is sent yet (but a credential plugin may run).
    ///
    /// # Errors
    /// When the credentials or the CA can't be used.
    pub fn new(name: &str, identity: &str, mut config: Config) -> Result<Self, CallError> {
        config.connect_timeout = Some(DEADLINE);
        config.read_timeout = Some(DEADLINE);
        config.write_timeout = Some(DEADLINE);
        config.default_retry = false;
        let mut address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        if let Some(proxy) = &config.proxy_url {
            // Without its path and its password.
            let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
            address = format!("{address} (by proxy {}{port})", proxy.host().unwrap_or_default());
        }
        let plugin = Plugin::of(&config.auth_info);
        let (cluster, identity) = (name.to_owned(), identity.to_owned());
        match client(config) {
            Ok(client) => Ok(Self { name: cluster, address, identity, client, plugin }),
            Err(error) => {
                let doing = "prepare the connection".into();
                Err(Call { cluster, address, identity, plugin, doing }.failed(&error))
            }
        }
    }

    /// Makes a call within the deadline. `doing` is a verb and its object.
    ///
    /// # Errors
    /// When it fails, saying so.
    pub async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let tried = || Call {
            cluster: self.name.clone(),
            address: self.address.clone(),
            identity: self.identity.clone(),
            plugin: self.plugin.clone(),
            doing: doing.into(),
        };
        match tokio::time::timeout(DEADLINE, call).await {
            Ok(result) => result.map_err(|error| tried().failed(&error)),
            Err(_) => Err(tried().timed_out()),
        }
    }

    /// The UID of `kube-system`, which stands for the cluster's identity.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn uid(&self) -> Result<String, CallError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = self.call("read namespace kube-system", namespaces.get("kube-system")).await?;
        Ok(namespace.uid().unwrap_or_default())
    }
}

/// A client that asks again, a few times within the deadline of a call, where an API server says that it is
/// busy: with too many calls, or with a definition that has just changed. kube's own does so for minutes.
fn client(config: Config) -> kube::Result<Client> {
    let again = RetryLayer::new(RetryPolicy::default());
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&BufferLayer::new(CALLS_AT_ONCE)).with_layer(&again).build())
}
