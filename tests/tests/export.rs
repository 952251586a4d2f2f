//! `kubemcsa export`: parses each format like its consumer, and uses the credential.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt};
use mcsa_credentials::link::Link;
use mcsa_credentials::token::Claims;
use mcsa_tests::{
    Cluster, client, create_pod_lister, ensure_no_tokens_in, kubemcsa, kubemcsa_ok, program, shared_clusters,
};
use serde_json::{Value, json};

/// Arguments to export service account `pod-lister` of a namespace.
fn export<'a>(namespace: &'a str, format: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["export", "pod-lister", "-n", namespace, "--format", format], more].concat()
}

fn value(secret: &Secret, key: &str) -> anyhow::Result<String> {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    Ok(String::from_utf8(data.with_context(|| format!("no key {key}"))?.0.clone())?)
}

/// A kubeconfig with the fields of a client-go rest config.
fn assembled(server: &str, token: &Value, tls: [&Value; 3]) -> anyhow::Result<Kubeconfig> {
    let [ca, insecure, server_name] = tls;
    Ok(serde_json::from_value(json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
        "users": [{ "name": "c", "user": { "token": token } }],
        "clusters": [{ "name": "c", "cluster": {
            "server": server,
            "certificate-authority-data": ca,
            "insecure-skip-tls-verify": insecure,
            "tls-server-name": server_name,
        } }],
    }))?)
}

/// Parses a document like the consumer of its format.
fn read(format: &str, document: &str) -> anyhow::Result<Kubeconfig> {
    if format == "kubeconfig" {
        return Ok(Kubeconfig::from_yaml(document)?);
    }
    let secret: Secret = serde_saphyr::from_str(document)?;
    let (labels, namespace) = (secret.labels(), secret.namespace().unwrap_or_default());
    let has = |key: &str, value: &str| labels.get(key).is_some_and(|label| label == value);
    let json = |text: String| anyhow::Ok(serde_json::from_str::<Value>(&text)?);
    Ok(match format {
        "secret" => Kubeconfig::from_yaml(&value(&secret, "kubeconfig")?)?,
        "argocd" => {
            ensure!(has("argocd.argoproj.io/secret-type", "cluster") && namespace == "argocd", "{labels:?}");
            ensure!(value(&secret, "name")? == "c2");
            let config = json(value(&secret, "config")?)?;
            let tls = &config["tlsClientConfig"];
            let tls = [&tls["caData"], &tls["insecure"], &tls["serverName"]];
            assembled(&value(&secret, "server")?, &config["bearerToken"], tls)?
        }
        "flux" => Kubeconfig::from_yaml(&value(&secret, "value")?)?,
        "capi" => {
            ensure!(secret.type_.as_deref() == Some("cluster.x-k8s.io/secret"), "{:?}", secret.type_);
            ensure!(has("cluster.x-k8s.io/cluster-name", "c2") && secret.name_any() == "c2-kubeconfig");
            Kubeconfig::from_yaml(&value(&secret, "value")?)?
        }
        "multikueue" => {
            ensure!(namespace == "kueue-system");
            Kubeconfig::from_yaml(&value(&secret, "kubeconfig")?)?
        }
        "argo-clusters" => {
            ensure!(secret.name_any() == "clusters");
            let config = json(value(&secret, "c2")?)?;
            let tls = &config["TLSClientConfig"];
            let tls = [&tls["CAData"], &tls["Insecure"], &tls["ServerName"]];
            let host = config["Host"].as_str().context("no host")?;
            assembled(host, &config["BearerToken"], tls)?
        }
        "argo-kubeconfig" => {
            ensure!(secret.name_any() == "kubeconfig");
            let kubeconfig = Kubeconfig::from_yaml(&value(&secret, "value")?)?;
            ensure!(kubeconfig.contexts.len() == 1 && kubeconfig.contexts[0].name == "c2");
            kubeconfig
        }
        "argo-profile" => {
            ensure!(has("workflows.argoproj.io/cluster", "c2"), "{labels:?}");
            Kubeconfig::from_yaml(&value(&secret, "kubeconfig")?)?
        }
        other => anyhow::bail!("unknown format: {other}"),
    })
}

fn token(kubeconfig: &Kubeconfig) -> anyhow::Result<mcsa_credentials::SecretString> {
    let user = kubeconfig.auth_infos.first().and_then(|named| named.auth_info.as_ref());
    user.and_then(|user| user.token.clone()).context("no token")
}

/// Ensures that the client may list pods in this namespace only.
async fn works(client: Client, namespace: &str) -> anyhow::Result<()> {
    Api::<Pod>::namespaced(client.clone(), namespace).list(&Default::default()).await?;
    let elsewhere = Api::<Pod>::namespaced(client, "default").list(&Default::default()).await;
    ensure!(elsewhere.is_err(), "it may list pods elsewhere");
    Ok(())
}

const FORMATS: [&str; 9] = [
    "secret",
    "kubeconfig",
    "argocd",
    "flux",
    "capi",
    "multikueue",
    "argo-clusters",
    "argo-kubeconfig",
    "argo-profile",
];

const INSECURE: [&str; 6] =
    ["kubeconfig", "argocd", "capi", "argo-clusters", "argo-kubeconfig", "argo-profile"];

async fn source(namespace: &str) -> anyhow::Result<&'static Cluster> {
    let (_, source) = shared_clusters().await;
    create_pod_lister(source, namespace).await?;
    Ok(source)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_is_a_valid_credential() -> anyhow::Result<()> {
    let source = source("formats").await?;
    let start = Timestamp::now();
    let mut tokens = BTreeSet::new();
    for format in FORMATS {
        for syntax in ["yaml", "json"] {
            let output = kubemcsa(
                source.kubeconfig(),
                export("formats", format, &["--duration", "20m", "-o", syntax]),
            )?;
            let (document, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
            ensure!(output.status.success(), "{format}: {stderr}");
            ensure!(document.starts_with('{') == (syntax == "json"), "{format}: not {syntax}");
            ensure!(stderr.contains("the token expires in 20m"), "{format}: {stderr}");
            let read = read(format, &document).with_context(|| format!("{format} as {syntax}"))?;
            let token = token(&read)?;
            let claims = Claims::parse(&token)?;
            let expected = start + SignedDuration::from_mins(20);
            let late = claims.expires_at.duration_since(expected).as_secs();
            ensure!((-5..120).contains(&late), "{format}: it expires {late} s late");
            ensure!(
                (claims.namespace.as_str(), claims.service_account.as_str()) == ("formats", "pod-lister")
            );
            {
                use mcsa_credentials::ExposeSecret;
                tokens.insert(token.expose_secret().to_owned());
            }
            works(client(read)?, "formats").await.with_context(|| format!("{format} as {syntax}"))?;
            ensure_no_tokens_in(&tokens, [(format!("stderr of {format}"), stderr)])?;
        }
    }
    ensure!(tokens.len() == 2 * FORMATS.len(), "tokens are reused");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_secret_can_be_applied() -> anyhow::Result<()> {
    let source = source("applied").await?;
    let file = source.dir().join("applied.yaml");
    for format in FORMATS.into_iter().filter(|format| *format != "kubeconfig") {
        let here = ["--secret-namespace", "applied"];
        for _ in 0..2 {
            let document = kubemcsa_ok(source.kubeconfig(), export("applied", format, &here))?;
            std::fs::write(&file, document)?;
            let path = file.display().to_string();
            let apply = ["apply", "--server-side", "-f", &path];
            source.kubectl(apply).await.with_context(|| format!("applying {format}"))?;
        }
        // Cluster API's Secret has the same name but another type, and the type of a Secret can't change.
        if format == "flux" {
            source.kubectl(["-n", "applied", "delete", "secret", "c2-kubeconfig"]).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn suggested_command_keeps_other_clusters_in_the_secret() -> anyhow::Result<()> {
    let source = source("several").await?;
    let file = source.dir().join("several.yaml");
    for name in ["paris", "oslo", "paris"] {
        let flags = ["--cluster-name", name, "--secret-namespace", "several"];
        let output = kubemcsa(source.kubeconfig(), export("several", "argo-clusters", &flags))?;
        let stderr = String::from_utf8(output.stderr)?;
        let manager = format!("kubemcsa-{name}");
        ensure!(stderr.contains(&format!("--server-side --field-manager {manager}")), "{stderr}");
        std::fs::write(&file, output.stdout)?;
        let path = file.display().to_string();
        source.kubectl(["apply", "--server-side", "--field-manager", &manager, "-f", &path]).await?;
    }
    let clusters = Api::<Secret>::namespaced(source.client(), "several").get("clusters").await?;
    let names: Vec<_> = clusters.data.iter().flatten().map(|(name, _)| name.as_str()).collect();
    ensure!(names == ["oslo", "paris"], "{names:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_can_be_skipped_only_if_the_consumer_supports_it() -> anyhow::Result<()> {
    let source = source("insecure").await?;
    // An address that the certificate is not valid for.
    let server = format!("https://127.0.0.2:{}", source.port());
    let flags = ["--server", &server, "--insecure-skip-tls-verify"];
    for format in FORMATS {
        let output = kubemcsa(source.kubeconfig(), export("insecure", format, &flags))?;
        let (document, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        if !INSECURE.contains(&format) {
            ensure!(output.status.code() == Some(2) && document.is_empty(), "{format}: {stderr}");
            ensure!(stderr.contains("certificate-authority-data"), "{format}: no fix in {stderr}");
            continue;
        }
        ensure!(output.status.success() && stderr.contains("INSECURE"), "{format}: {stderr}");
        let mut read = read(format, &document)?;
        let cluster = read.clusters[0].cluster.as_mut().context("no cluster")?;
        ensure!(cluster.server.as_ref() == Some(&server), "{format}: {:?}", cluster.server);
        ensure!(cluster.insecure_skip_tls_verify == Some(true), "{format} is verified");
        ensure!(cluster.certificate_authority_data.is_none(), "{format}: both a CA and none");
        // The API server listens at one address only.
        cluster.server = Some(source.server());
        works(client(read)?, "insecure").await.context(format)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_can_be_a_link_and_profile_has_its_scope() -> anyhow::Result<()> {
    let source = source("exported-others").await?;
    let named = ["--cluster-name", "paris"];
    let document = kubemcsa_ok(source.kubeconfig(), export("exported-others", "secret", &named))?;
    let link = Link::read(&serde_saphyr::from_str(&document)?)?;
    ensure!(link.cluster_name == "paris", "{}", link.cluster_name);

    let flags = ["--workflow-namespace", "", "--cluster-name", "paris"];
    let document = kubemcsa_ok(source.kubeconfig(), export("exported-others", "argo-profile", &flags))?;
    let profile: Secret = serde_saphyr::from_str(&document)?;
    let annotations = profile.annotations();
    ensure!(annotations["workflows.argoproj.io/workflow-namespace"].is_empty());
    ensure!(annotations["workflows.argoproj.io/namespace"] == "exported-others");
    ensure!(profile.name_any() == "argo.paris", "{}", profile.name_any());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_one_line() -> anyhow::Result<()> {
    let source = source("exported-refused").await?;
    let refused = |kubeconfig: &Path, args: Vec<&str>, expected: &[&str]| {
        let output = kubemcsa(kubeconfig, args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{:?}: {stderr}", output.status);
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(expected.iter().all(|text| last.contains(text)), "{expected:?} is not in: {stderr}");
        anyhow::Ok(())
    };
    let admin = source.kubeconfig();
    let mut args = export("exported-refused", "flux", &[]);
    args[1] = "nobody";
    refused(admin, args, &["c2: ", "exported-refused/nobody", "not found"])?;
    refused(
        admin,
        export("exported-refused", "capi", &["--cluster-name", "C2/x"]),
        &["C2/x", "--cluster-name"],
    )?;
    refused(
        admin,
        export("exported-refused", "flux", &["--server", "http://c2"]),
        &["--server", "https://"],
    )?;
    let wrong = kubemcsa(admin, export("exported-refused", "flux", &["--workflow-namespace", "argo"]))?;
    let stderr = String::from_utf8_lossy(&wrong.stderr);
    ensure!(wrong.status.code() == Some(2) && stderr.contains("argo-profile"), "{stderr}");
    // A user who cannot mint tokens.
    let lister = source.kubeconfig_of("exported-refused", "pod-lister").await?;
    refused(&lister, export("exported-refused", "argocd", &[]), &["cannot", "exported-refused/pod-lister"])
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_stdout_is_an_error_and_no_panic() -> anyhow::Result<()> {
    let source = source("gone").await?;
    for format in FORMATS {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(program("kubemcsa")?);
        command.env("KUBECONFIG", source.kubeconfig()).args(export("gone", format, &[]));
        let output = command.stdout(writer).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{format}: {:?}: {stderr}", output.status);
        ensure!(
            stderr.contains("can't write to stdout") && !stderr.contains("panicked"),
            "{format}: {stderr}"
        );
    }
    Ok(())
}

/// The consumer can't read the CA file that the user's kubeconfig names.
#[tokio::test(flavor = "multi_thread")]
async fn ca_file_is_embedded() -> anyhow::Result<()> {
    let source = source("files").await?;
    let ca = source.dir().join("exported-ca.crt");
    std::fs::write(&ca, source.ca_pem())?;
    let mut kubeconfig = source.kubeconfig_value();
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.certificate_authority_data = None;
        cluster.certificate_authority = Some(ca.display().to_string());
    }
    let path = source.dir().join("with-files.kubeconfig");
    std::fs::write(&path, serde_saphyr::to_string(&kubeconfig)?)?;
    let read = read("kubeconfig", &kubemcsa_ok(&path, export("files", "kubeconfig", &[]))?)?;
    let cluster = read.clusters[0].cluster.as_ref().context("no cluster")?;
    let data = cluster.certificate_authority_data.as_ref().context("no CA")?;
    ensure!(
        BASE64_STANDARD.decode(data)? == source.ca_pem().as_bytes()
            && cluster.certificate_authority.is_none()
    );
    Ok(())
}
