//! A connection to one cluster.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt};

use crate::call::{Call, CallError, DEADLINE};

/// One cluster, as somebody in it.
#[derive(Clone)]
pub struct Cluster {
    /// What the lines about it are marked with.
    pub name: String,
    /// URL of its API server.
    pub address: String,
    /// As whom we call it, such as `context c1`.
    pub identity: String,
    /// The client.
    pub client: Client,
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
        let address = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let (cluster, identity) = (name.to_owned(), identity.to_owned());
        match Client::try_from(config) {
            Ok(client) => Ok(Self { name: cluster, address, identity, client }),
            Err(error) => {
                let doing = "prepare the connection".into();
                Err(Call { cluster, address, identity, doing }.failed(&error))
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
