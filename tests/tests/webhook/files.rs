//! Certificates from files, which are replaced like a kubelet does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::ensure;
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CERTIFICATE, CONFIGURATION, ENTRIES, PATH};
use mcsa_tests::{eventually, mount};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use super::client::{call, call_with};
use super::fixture::{Fixture, Replica};
use super::load::Load;
use super::manifests::{self, documents};

/// An authority that signs certificates for the webhook.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes a new certificate to the webhook's files.
    fn issue(&self, volume: &Volume) -> anyhow::Result<()> {
        self.issue_until(volume, rcgen::date_time_ymd(2100, 1, 1))
    }

    fn issue_until(&self, volume: &Volume, end: time::OffsetDateTime) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        params.not_after = end;
        let chain = params.signed_by(&key, &self.0)?.pem();
        volume.put([("tls.crt", chain), ("tls.key", key.serialize_pem()), ("ca.crt", self.pem())])
    }
}

/// A Secret volume, written like a kubelet does.
struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn put(&self, files: [(&str, String); 3]) -> anyhow::Result<()> {
        let files: BTreeMap<_, _> = files.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
        mount(self.0.path(), "tls", &files).map(drop)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("tls").join(name)
    }

    fn flags(&self) -> [String; 4] {
        let flag = |flag: &str, name| format!("--{flag}={}", self.file(name).display());
        [
            "--certificate-overlap=1s".to_owned(),
            flag("tls-cert-file", "tls.crt"),
            flag("tls-key-file", "tls.key"),
            flag("ca-file", "ca.crt"),
        ]
    }
}

/// Waits until the webhook has logged this.
async fn wait_for_log(webhook: &Replica, text: &str) {
    eventually(format!("the webhook logs {text:?}"), async || {
        webhook.process.check()?;
        ensure!(webhook.process.log().contains(text), "it does not");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_files_fail_no_request() -> anyhow::Result<()> {
    let fixture = Arc::new(Fixture::start().await?);
    let (volume, first, second) = (Volume::new()?, Authority::new()?, Authority::new()?);
    first.issue(&volume)?;
    let flags = volume.flags();
    let webhook = fixture.webhook("webhook", &flags.each_ref().map(String::as_str)).await?;
    let mut load = Load::on(&fixture, &[webhook.address]).await;
    let handshake =
        async || Ok::<_, anyhow::Error>(call(webhook.address, &fixture.bundle().await?).await?.certificate);
    for authority in [&first, &first, &second, &second, &first] {
        let before = handshake().await?;
        authority.issue(&volume)?;
        eventually("the new certificate is served", async || {
            load.check()?;
            ensure!(handshake().await? != before, "it is not");
            Ok(())
        })
        .await;
        load.continues().await?;
    }
    eventually("the CA bundle has only the authority in the files", async || {
        let bundle = fixture.bundle().await?;
        ensure!(bundle == first.pem().replace("\r\n", "\n"), "{bundle}");
        Ok(())
    })
    .await;
    let served = load.end().await?;
    ensure!(served[0].len() == 6, "{} certificates were served", served[0].len());

    // With a mismatched key, the webhook keeps serving the previous certificate.
    let before = handshake().await?;
    let key = KeyPair::generate()?.serialize_pem();
    let chain = std::fs::read_to_string(volume.file("tls.crt"))?;
    volume.put([("tls.crt", chain), ("tls.key", key), ("ca.crt", first.pem())])?;
    wait_for_log(&webhook, "can't be served").await;
    ensure!(handshake().await? == before, "another certificate is served");
    fixture.review().await?;
    ensure!(fixture.secrets().get_opt(CERTIFICATE).await?.is_none(), "an unneeded Secret was created");

    for (versions, version) in [(&[&TLS12], ProtocolVersion::TLSv1_2), (&[&TLS13], ProtocolVersion::TLSv1_3)]
    {
        for protocol in [&b"h2"[..], b"http/1.1"] {
            let handshake = call_with(webhook.address, &first.pem(), versions, protocol).await?;
            ensure!(handshake.version == Some(version) && handshake.protocol.as_deref() == Some(protocol));
            // Only POST is allowed.
            ensure!(handshake.get(PATH).await? == 405, "{version:?} {protocol:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_leaves_the_ca_bundle_to_an_injector() -> anyhow::Result<()> {
    let fixture = Arc::new(Fixture::start().await?);
    // With exactly the rights that it has with cert-manager.
    let objects: Vec<_> = documents(manifests::CERT_MANAGER).await?;
    let objects = objects.into_iter().filter(|object| object["apiVersion"] != "cert-manager.io/v1");
    let file = fixture.cluster.dir().join("manifests.json");
    std::fs::write(
        &file,
        json!({ "apiVersion": "v1", "kind": "List", "items": Vec::from_iter(objects) }).to_string(),
    )?;
    let file = file.display().to_string();
    fixture.cluster.kubectl(["apply", "--server-side", "--force-conflicts", "-f", &file]).await?;
    fixture.cluster.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "role,rolebinding", "webhook"]).await?;
    let inject = async |pem: Option<String>| {
        let ca_bundle = pem.map(|pem| ByteString(pem.into_bytes()));
        let client = json!({ "url": fixture.url(), "caBundle": ca_bundle });
        let set = |index: usize| json!({ "op": "replace", "path": format!("/webhooks/{index}/clientConfig"), "value": client });
        fixture.edit((0..ENTRIES.len()).map(set).collect()).await
    };
    inject(None).await?;

    let (volume, first, second) = (Volume::new()?, Authority::new()?, Authority::new()?);
    let flags = volume.flags();
    let flags = flags.each_ref().map(String::as_str);
    let webhook = fixture.webhook_without_url("webhook", &flags[..3]).await?;
    wait_for_log(&webhook, "can't read").await;
    first.issue_until(&volume, rcgen::date_time_ymd(2000, 1, 1))?;
    wait_for_log(&webhook, "expired at 2000-01-01").await;
    first.issue(&volume)?;
    wait_for_log(&webhook, "the API server would reject the certificate").await;
    let handshake = call(webhook.address, &first.pem()).await?;
    let before = handshake.certificate.clone();
    let error = webhook.process.get("/readyz").await.unwrap_err().to_string();
    ensure!(error.contains("registration: the API server would reject"), "{error}");

    inject(Some(first.pem())).await?;
    let mut load = Load::on(&fixture, &[webhook.address]).await;
    eventually("the webhook is ready", async || webhook.process.get("/readyz").await).await;
    second.issue(&volume)?;
    load.continues().await?;
    ensure!(
        call(webhook.address, &first.pem()).await?.certificate == before,
        "the untrusted certificate is served"
    );
    inject(Some(first.pem() + &second.pem())).await?;
    eventually("the second certificate is served", async || {
        load.check()?;
        call(webhook.address, &second.pem()).await
    })
    .await;
    inject(Some(second.pem())).await?;
    load.end().await?;
    let managers =
        fixture.configurations().get(CONFIGURATION).await?.metadata.managed_fields.unwrap_or_default();
    let wrote =
        |entry: &ManagedFieldsEntry| entry.manager.as_deref() == Some("multicluster-service-account-webhook");
    ensure!(!managers.iter().any(wrote), "the webhook has written the configuration");
    Ok(())
}
