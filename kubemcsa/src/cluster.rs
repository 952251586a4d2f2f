//! Connections to clusters, and the operations on their objects.

pub(crate) mod apply;
pub(crate) mod call;
pub(crate) mod contents;
pub(crate) mod crd;
pub(crate) mod delete;
pub(crate) mod deleter;
pub(crate) mod deletion;
pub(crate) mod endpoint;
pub(crate) mod kubeconfig;
pub(crate) mod lease;
pub(crate) mod list;
pub(crate) mod object;
pub(crate) mod pod;
pub(crate) mod policies;
pub(crate) mod preview;
pub(crate) mod reach;
pub(crate) mod template_fields;

use k8s_openapi::api::core::v1::Namespace;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client, Config, ResourceExt};
use mcsa_client::live::LiveConfig;
use mcsa_credentials::url::without_credentials;
use mcsa_runtime::errors::foreign;
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::MapResultLayer;

use crate::cluster::call::{Call, CallError, DEADLINE};

/// Concurrent calls per cluster.
const CONCURRENCY: usize = 64;

/// A connection to a cluster, as one user.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Its name in messages.
    pub(crate) name: String,
    /// URL of its API server and host of the proxy, for messages.
    pub(crate) address: String,
    /// The user in messages, such as `context c1`.
    pub(crate) identity: String,
    pub(crate) client: Client,
    /// Whether the user is a link, not a person.
    is_link: bool,
}

impl Cluster {
    /// Connects as the user of a kubeconfig: runs the credential plugin, which may wait for the user.
    pub(crate) async fn connect(name: &str, identity: &str, config: Config) -> Result<Self, CallError> {
        let (cluster, live) = Self::prepare(name, identity, config, false)?;
        let authenticated = live.authenticate().await;
        authenticated.map_err(|error| cluster.details("authenticate").failed(&error))?;
        Ok(cluster)
    }

    /// Prepares a connection with the credential and the endpoint of a target's link. Sends nothing.
    pub(crate) fn as_link(name: &str, target: &str, config: Config) -> Result<Self, CallError> {
        Self::prepare(name, &format!("the link of {target}"), config, true).map(|(cluster, _)| cluster)
    }

    fn prepare(
        name: &str,
        identity: &str,
        mut config: Config,
        is_link: bool,
    ) -> Result<(Self, LiveConfig), CallError> {
        config.connect_timeout = Some(DEADLINE);
        config.read_timeout = Some(DEADLINE);
        config.write_timeout = Some(DEADLINE);
        config.default_retry = false;
        let (cluster, identity, address) = (name.to_owned(), identity.to_owned(), address(&config));
        match LiveConfig::fixed(config) {
            Ok(live) => {
                let client = client(&live);
                Ok((Self { name: cluster, address, identity, client, is_link }, live))
            }
            Err(error) => {
                let doing = "prepare the connection".into();
                Err(Call { cluster, address, identity, doing, is_link }.impossible(error.to_string()))
            }
        }
    }

    fn details(&self, doing: &str) -> Call {
        Call {
            cluster: self.name.clone(),
            address: self.address.clone(),
            identity: self.identity.clone(),
            is_link: self.is_link,
            doing: doing.into(),
        }
    }

    /// Awaits a call within the deadline. `doing` is a verb and its object for the error, such as `list pods`.
    pub(crate) async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(DEADLINE, call).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if foreign::is_missing_path(&error) && self.is_kubernetes().await => {
                Err(self.details(doing).not_served())
            }
            Ok(Err(error)) => Err(self.details(doing).failed(&error)),
            Err(_) => Err(self.details(doing).timed_out()),
        }
    }

    /// Whether an API server answers: every user may read its version, or gets a `Status`.
    async fn is_kubernetes(&self) -> bool {
        match tokio::time::timeout(DEADLINE, self.client.apiserver_version()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error @ kube::Error::Api(_))) => foreign::foreign_response(&error).is_none(),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// The UID of `kube-system`, which identifies the cluster.
    pub(crate) async fn uid(&self) -> Result<String, CallError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = self.call("read namespace kube-system", namespaces.get("kube-system")).await?;
        Ok(namespace.uid().unwrap_or_default())
    }
}

fn address(config: &Config) -> String {
    let server = without_credentials(config.cluster_url.to_string().trim_end_matches('/'));
    match config.proxy_url.as_ref().and_then(http::Uri::authority) {
        Some(proxy) => format!("{server} (through proxy {})", without_credentials(proxy.as_str())),
        None => server,
    }
}

/// A client that retries a few times, within the deadline of a call, if the API server is overloaded or a CRD has just
/// changed. kube's default retries for minutes.
fn client(live: &LiveConfig) -> Client {
    let retry = RetryLayer::new(RetryPolicy::default());
    let client = live.client();
    let send = tower::service_fn(move |request: http::Request<Body>| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    ClientBuilder::new(send, live.default_namespace())
        .with_layer(&BufferLayer::new(CONCURRENCY))
        .with_layer(&retry)
        .with_layer(&MapResultLayer::new(foreign::reject))
        .build()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kube::client::Body;

    /// A cluster at whose address a server answers each path with this.
    pub(crate) fn cluster(answer: impl Fn(&str) -> (u16, &'static str) + Clone + Send + 'static) -> Cluster {
        let server = tower::service_fn(move |request: http::Request<Body>| {
            let (code, body) = answer(request.uri().path());
            let response = http::Response::builder().status(code).body(Body::from(body.as_bytes().to_vec()));
            std::future::ready(Ok::<_, std::convert::Infallible>(response.unwrap()))
        });
        Cluster {
            name: "c2".into(),
            address: "https://c2".into(),
            identity: "context c2".into(),
            client: Client::new(server, "default"),
            is_link: false,
        }
    }

    const VERSION: &str = r#"{"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;

    #[rstest::rstest]
    #[case::api_server((200, VERSION), true)]
    #[case::api_server_that_refuses((403, r#"{"kind": "Status", "status": "Failure", "code": 403}"#), true)]
    #[case::another_server((404, "404 page not found\n"), false)]
    #[case::a_page((200, "<html>"), false)]
    #[tokio::test]
    async fn missing_path_is_not_found_only_on_an_api_server(
        #[case] version: (u16, &'static str),
        #[case] is_not_found: bool,
    ) {
        let cluster =
            cluster(move |path| if path == "/version" { version } else { (404, "404 page not found\n") });
        let error = cluster.uid().await.unwrap_err();
        assert_eq!(error.is_not_found(), is_not_found, "{error}");
        assert_eq!(error.to_string().contains("no Kubernetes API server answered"), !is_not_found, "{error}");
    }

    #[test]
    fn address_shows_the_proxy_and_no_password() {
        let mut config = Config::new("https://me:s3cret@c2:6443".parse().unwrap());
        assert_eq!(address(&config), "https://c2:6443");
        config.proxy_url = Some("http://me:s3cret@proxy:3128".parse().unwrap());
        assert_eq!(address(&config), "https://c2:6443 (through proxy proxy:3128)");
    }
}
