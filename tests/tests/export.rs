//! `kubemcsa export`: each format is read as its consumer reads it, and what was read is used.

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

/// The flags of an export of the service account `pod-lister` of a namespace.
fn export<'a>(namespace: &'a str, format: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["export", "pod-lister", "-n", namespace, "--format", format], more].concat()
}

fn value(secret: &Secret, key: &str) -> anyhow::Result<String> {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    Ok(String::from_utf8(data.with_context(|| format!("no key {key}"))?.0.clone())?)
}

/// A kubeconfig of the parts that client-go makes of a rest config.
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

/// What the consumer of a format makes of a document.
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
        other => anyhow::bail!("a format that no consumer reads: {other}"),
    })
}

fn token(kubeconfig: &Kubeconfig) -> anyhow::Result<mcsa_credentials::SecretString> {
    let user = kubeconfig.auth_infos.first().and_then(|named| named.auth_info.as_ref());
    user.and_then(|user| user.token.clone()).context("no token")
}

/// Lists pods where the service account may, and nowhere else.
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
async fn each_format_is_a_credential_for_its_consumer() -> anyhow::Result<()> {
    let source = source("formats").await?;
    let asked = Timestamp::now();
    let mut tokens = BTreeSet::new();
    for format in FORMATS {
        // Twice: an export leaves nothing behind.
        for syntax in ["yaml", "json"] {
            let output = kubemcsa(
                source.kubeconfig(),
                export("formats", format, &["--duration", "20m", "-o", syntax]),
            )?;
            let (document, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
            ensure!(output.status.success(), "{format}: {said}");
            ensure!(document.starts_with('{') == (syntax == "json"), "{format}: not {syntax}");
            ensure!(said.contains("the token expires in 20m"), "{format}: {said}");
            let read = read(format, &document).with_context(|| format!("{format} as {syntax}"))?;
            let token = token(&read)?;
            let claims = Claims::of(&token)?;
            let expected = asked + SignedDuration::from_mins(20);
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
            ensure_no_tokens_in(&tokens, [(format!("stderr of {format}"), said)])?;
        }
    }
    ensure!(tokens.len() == 2 * FORMATS.len(), "tokens are used again");
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
            // Cluster API's Secret and Flux' have one name, and a Secret's type can't change.
            let path = file.display().to_string();
            let apply = ["apply", "--server-side", "-f", &path];
            source.kubectl(apply).await.with_context(|| format!("applying {format}"))?;
        }
        if format == "flux" {
            source.kubectl(["-n", "applied", "delete", "secret", "c2-kubeconfig"]).await?;
        }
    }
    Ok(())
}

/// By the command that stderr tells.
#[tokio::test(flavor = "multi_thread")]
async fn one_secret_takes_several_clusters() -> anyhow::Result<()> {
    let source = source("several").await?;
    let file = source.dir().join("several.yaml");
    for name in ["paris", "oslo", "paris"] {
        let flags = ["--cluster-name", name, "--secret-namespace", "several"];
        let output = kubemcsa(source.kubeconfig(), export("several", "argo-clusters", &flags))?;
        let said = String::from_utf8(output.stderr)?;
        let manager = format!("kubemcsa-{name}");
        ensure!(said.contains(&format!("--server-side --field-manager {manager}")), "{said}");
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
async fn without_verification_only_where_it_is_asked_for_and_possible() -> anyhow::Result<()> {
    let source = source("insecure").await?;
    // A name that the certificate is not for, but that leads there.
    let server = format!("https://127.0.0.2:{}", source.port());
    let flags = ["--server", &server, "--insecure-skip-tls-verify"];
    for format in FORMATS {
        let output = kubemcsa(source.kubeconfig(), export("insecure", format, &flags))?;
        let (document, said) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        if !INSECURE.contains(&format) {
            ensure!(output.status.code() == Some(1) && document.is_empty(), "{format}: {said}");
            ensure!(said.contains("certificate-authority-data"), "{format}: no mend in {said}");
            continue;
        }
        ensure!(output.status.success() && said.contains("INSECURE"), "{format}: {said}");
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
async fn a_secret_of_ours_can_be_a_link_and_a_profile_says_what_it_is_for() -> anyhow::Result<()> {
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
async fn what_it_refuses_it_says_on_one_line() -> anyhow::Result<()> {
    let source = source("exported-refused").await?;
    let refused = |kubeconfig: &Path, args: Vec<&str>, said: &[&str]| {
        let output = kubemcsa(kubeconfig, args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{:?}: {stderr}", output.status);
        let last = stderr.lines().last().unwrap_or_default();
        ensure!(said.iter().all(|word| last.contains(word)), "{said:?} is not in: {stderr}");
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
    refused(admin, export("exported-refused", "flux", &["--workflow-namespace", "argo"]), &["argo-profile"])?;
    // Somebody who may not mint.
    let lister = source.kubeconfig_of("exported-refused", "pod-lister").await?;
    refused(&lister, export("exported-refused", "argocd", &[]), &["may not", "exported-refused/pod-lister"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_is_an_error_and_no_panic() -> anyhow::Result<()> {
    let source = source("gone").await?;
    for format in FORMATS {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(program("kubemcsa")?);
        command.env("KUBECONFIG", source.kubeconfig()).args(export("gone", format, &[]));
        let output = command.stdout(writer).stderr(Stdio::piped()).spawn()?.wait_with_output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{format}: {:?}: {said}", output.status);
        ensure!(said.contains("can't write to stdout") && !said.contains("panicked"), "{format}: {said}");
    }
    Ok(())
}

/// The CA of a kubeconfig is that of the source, also where the user's names a file.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_this_machine_are_not_named() -> anyhow::Result<()> {
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
