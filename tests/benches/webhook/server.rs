//! The measured servers, each in its own process: the webhook's own binary, with its own rights, and the limit.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use mcsa_credentials::contract::webhook::{CONFIGURATION, ENTRY, PATH};
use mcsa_tests::{Process, program, try_eventually};
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

/// How long a webhook still serves after SIGTERM, in seconds. Our Service learns of it sooner.
const SHUTDOWN_DELAY: &str = "2";

#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The address for reviews.
    pub address: SocketAddr,
    probes: SocketAddr,
}

/// A running server.
pub struct Server {
    process: Process,
    pub place: Place,
    /// The authority that its clients trust.
    pub trust: Trust,
}

/// The source of a webhook's certificate.
#[derive(Clone, Copy)]
pub enum Identity<'a> {
    /// The webhook issues one, and registers the authority.
    Own,
    /// The webhook reads one of this authority from a folder.
    Files(&'a Path, &'a Authority),
}

impl Server {
    /// Starts a webhook, which registers the address `called`, and waits until it is ready. Its log is named after
    /// the `phase`.
    pub async fn webhook(
        fixture: &Fixture,
        phase: &str,
        place: Place,
        called: Place,
        identity: Identity<'_>,
    ) -> anyhow::Result<Self> {
        let url = format!("https://{}{PATH}", called.address);
        let mut command = Command::new(program("mcsa-webhook")?);
        command.arg("--kubeconfig").arg(&fixture.kubeconfig);
        command.args(["--listen", &place.address.to_string(), "--url", &url]);
        command.args(["--probe-address", &place.probes.to_string(), "--shutdown-delay", SHUTDOWN_DELAY]);
        if let Identity::Files(folder, _) = identity {
            command.arg("--tls-cert-file").arg(folder.join(CERTIFICATE));
            command.arg("--tls-key-file").arg(folder.join(KEY));
            command.arg("--ca-file").arg(folder.join(CA));
        }
        let log = fixture.cluster.dir().join(format!("webhook-{phase}.log"));
        let process = Process::spawn(format!("webhook-{phase}"), &command, log)?;
        let trust = match identity {
            Identity::Own => &unless_ended(&process, registered(fixture, &url)).await?,
            Identity::Files(_, authority) => &authority.pem(),
        };
        let server = Self { process, place, trust: Trust::new(trust)? };
        let ready = try_eventually(READY_WITHIN, "the webhook to be ready", async || probe(place).await);
        unless_ended(&server.process, ready).await?;
        Ok(server)
    }

    /// Starts the limit, with a certificate in this folder.
    pub async fn limit(fixture: &Fixture, folder: &Path, authority: &Authority) -> anyhow::Result<Self> {
        let place = Place::free()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--as-limit").arg(folder).args(["--listen", &place.address.to_string()]);
        let process = Process::spawn("limit", &command, fixture.cluster.dir().join("limit.log"))?;
        let server = Self { process, place, trust: Trust::new(&authority.pem())? };
        let ready = try_eventually(READY_WITHIN, "the limit to serve", async || {
            Connection::open(place.address, &server.trust).await.map(drop)
        });
        unless_ended(&server.process, ready).await?;
        Ok(server)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Terminates it like a kubelet, and waits for its end.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let status = self.process.terminate().await?;
        ensure!(status.success(), "{} ended with {status}", self.process.name());
        Ok(())
    }
}

impl Place {
    /// Finds a free place.
    pub fn free() -> anyhow::Result<Self> {
        Ok(Self { address: free_address()?, probes: free_address()? })
    }
}

/// Probes a webhook's readiness like a kubelet.
pub async fn probe(place: Place) -> anyhow::Result<()> {
    let probe = async {
        let mut stream = TcpStream::connect(place.probes).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    };
    timeout(PROBE_TIMEOUT, probe).await.context("no answer")?
}

/// Returns a future's result, or an error if the process ends first.
async fn unless_ended<T>(
    process: &Process,
    something: impl Future<Output = anyhow::Result<T>>,
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
        result = something => {
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
async fn registered(fixture: &Fixture, url: &str) -> anyhow::Result<String> {
    let configurations = Api::<MutatingWebhookConfiguration>::all(fixture.cluster.client());
    try_eventually(READY_WITHIN, "the webhook to be registered", async || {
        let configuration = configurations.get(CONFIGURATION).await?;
        let mut entries = configuration.webhooks.into_iter().flatten();
        let client = entries.find(|entry| entry.name == ENTRY).context("no such entry")?.client_config;
        ensure!(client.url.as_deref() == Some(url), "another URL is registered: {:?}", client.url);
        Ok(String::from_utf8(client.ca_bundle.context("no authority is registered")?.0)?)
    })
    .await
}
