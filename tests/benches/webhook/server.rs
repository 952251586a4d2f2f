//! Runs the measured servers, each in a process of its own: the webhook's binary, with the webhook's rights, and the
//! baseline.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use mcsa_credentials::contract::webhook::{CONFIGURATION, ENTRY, PATH};
use mcsa_tests::{Process, program, set_webhook_url, try_eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::fixture::Fixture;
use crate::tls::{Authority, CA, CERTIFICATE, KEY, Trust};

/// Deadline for a server to become ready. A webhook lists all imports first.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Timeout of a probe: the kubelet's default.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Ports between those of the test clusters and the kernel's ephemeral ports.
const PORTS: std::ops::Range<u16> = 30_000..32_000;

/// How long a webhook still serves after SIGTERM, in seconds. The Service of the bench stops using it sooner.
const SHUTDOWN_DELAY: &str = "2";

/// The addresses of a server.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The address for reviews.
    pub reviews: SocketAddr,
    probes: SocketAddr,
}

/// A running server.
pub struct Server {
    process: Process,
    pub addresses: Addresses,
    /// The authority that its clients trust.
    pub trust: Trust,
}

/// The source of a webhook's certificate.
#[derive(Clone, Copy)]
pub enum CertificateSource<'a> {
    /// The webhook issues a certificate, and registers its own authority.
    Own,
    /// The webhook reads a certificate of this authority from a folder.
    Files(&'a Path, &'a Authority),
}

impl Server {
    /// Starts a webhook, which registers the address of `registered`, and waits until it is ready. Its log is named
    /// after the `phase`.
    pub async fn webhook(
        fixture: &Fixture,
        phase: &str,
        addresses: Addresses,
        registered: Addresses,
        certificate_source: CertificateSource<'_>,
    ) -> anyhow::Result<Self> {
        let url = format!("https://{}{PATH}", registered.reviews);
        set_webhook_url(&fixture.cluster, &url).await?;
        let mut command = Command::new(program("mcsa-webhook")?);
        command.arg("--kubeconfig").arg(&fixture.kubeconfig);
        command.args(["--listen", &addresses.reviews.to_string(), "--url", &url]);
        command.args(["--probe-address", &addresses.probes.to_string(), "--shutdown-delay", SHUTDOWN_DELAY]);
        if let CertificateSource::Files(folder, _) = certificate_source {
            command.arg("--tls-cert-file").arg(folder.join(CERTIFICATE));
            command.arg("--tls-key-file").arg(folder.join(KEY));
            command.arg("--ca-file").arg(folder.join(CA));
        }
        let log = fixture.cluster.dir().join(format!("webhook-{phase}.log"));
        let process = Process::spawn(format!("webhook-{phase}"), &command, log)?;
        let trust = match certificate_source {
            CertificateSource::Own => &unless_ended(&process, registered_authority(fixture, &url)).await?,
            CertificateSource::Files(_, authority) => &authority.pem(),
        };
        let server = Self { process, addresses, trust: Trust::new(trust)? };
        let ready = try_eventually(READY_WITHIN, "the webhook to be ready", async || probe(addresses).await);
        unless_ended(&server.process, ready).await?;
        Ok(server)
    }

    /// Starts the baseline, with a certificate in this folder.
    pub async fn baseline(fixture: &Fixture, folder: &Path, authority: &Authority) -> anyhow::Result<Self> {
        let addresses = Addresses::free()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-baseline").arg(folder).args(["--listen", &addresses.reviews.to_string()]);
        let process = Process::spawn("baseline", &command, fixture.cluster.dir().join("baseline.log"))?;
        let server = Self { process, addresses, trust: Trust::new(&authority.pem())? };
        let ready = try_eventually(READY_WITHIN, "the baseline to serve", async || {
            Connection::open(addresses.reviews, &server.trust).await.map(drop)
        });
        unless_ended(&server.process, ready).await?;
        Ok(server)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Terminates the server like a kubelet, and waits until it ends.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let status = self.process.terminate().await?;
        ensure!(status.success(), "{} ended with {status}", self.process.name());
        Ok(())
    }
}

impl Addresses {
    /// Finds free addresses.
    pub fn free() -> anyhow::Result<Self> {
        Ok(Self { reviews: free_address()?, probes: free_address()? })
    }
}

/// Probes a webhook's readiness like a kubelet.
pub async fn probe(addresses: Addresses) -> anyhow::Result<()> {
    let probe = async {
        let mut stream = TcpStream::connect(addresses.probes).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\r\n").await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        ensure!(response.starts_with("HTTP/1.1 200 "), "{response}");
        Ok(())
    };
    timeout(PROBE_TIMEOUT, probe).await.context("the probe received no response in time")?
}

/// Returns a future's result, or an error if the process ends first.
async fn unless_ended<T>(
    process: &Process,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let ended = async {
        loop {
            if let Err(ended) = process.check() {
                return ended;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        result = future => {
            result.with_context(|| format!("its log ends with:\n{}", process.log_tail(5)))
        }
        ended = ended => Err(ended),
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let addresses = (0..100).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS))));
    let mut free = addresses.filter(|address| TcpListener::bind(address).is_ok());
    free.next().context("no free port found")
}

/// Waits until an authority is registered for this URL, and returns it.
async fn registered_authority(fixture: &Fixture, url: &str) -> anyhow::Result<String> {
    let configurations = Api::<MutatingWebhookConfiguration>::all(fixture.cluster.client());
    try_eventually(READY_WITHIN, "the webhook to be registered", async || {
        let configuration = configurations.get(CONFIGURATION).await?;
        let mut entries = configuration.webhooks.into_iter().flatten();
        let client = entries
            .find(|entry| entry.name == ENTRY)
            .context("the configuration has no entry of the webhook")?
            .client_config;
        ensure!(client.url.as_deref() == Some(url), "another URL is registered: {:?}", client.url);
        Ok(String::from_utf8(client.ca_bundle.context("no authority is registered")?.0)?)
    })
    .await
}
