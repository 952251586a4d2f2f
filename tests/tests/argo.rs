//! The Secrets of Argo Workflows' multi-cluster designs: written to a real API server, read back, and used.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{ListParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use mcsa_client::argo::{self, ClusterLine, Profiles, Reader};
use mcsa_credentials::ExposeSecret;
use mcsa_tests::{Cluster, create_pod_lister, ensure_no_tokens_in, init, kubemcsa_ok, shared_clusters};
use serde_json::json;

/// Lists pods where the service account may, and fails elsewhere.
async fn ensure_works(mut config: Config, namespace: &str) -> anyhow::Result<()> {
    init();
    ensure!(config.proxy_url.take().is_none(), "the config has a proxy");
    let client = Client::try_from(config)?;
    Api::<Pod>::namespaced(client.clone(), namespace).list(&Default::default()).await?;
    let elsewhere = Api::<Pod>::namespaced(client, "default").list(&Default::default()).await;
    ensure!(elsewhere.is_err(), "the service account may list pods elsewhere");
    Ok(())
}

async fn create_secret(
    target: &Cluster,
    namespace: &str,
    name: &str,
    key: &str,
    value: &str,
) -> anyhow::Result<Secret> {
    let secret =
        serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": { key: value } }))?;
    let api = Api::<Secret>::namespaced(target.client(), namespace);
    api.create(&PostParams::default(), &secret).await?;
    Ok(api.get(name).await?)
}

/// Creates a namespace `name` in both clusters, with a service account `pod-lister` in the source. Returns the
/// clusters and a kubeconfig of the service account.
async fn create_namespace(name: &str) -> anyhow::Result<(&'static Cluster, &'static Cluster, String)> {
    let (target, source) = shared_clusters().await;
    create_pod_lister(source, name).await?;
    target.kubectl(["create", "namespace", name]).await?;
    let kubeconfig = std::fs::read_to_string(source.kubeconfig_of(name, "pod-lister").await?)?;
    Ok((target, source, kubeconfig))
}

fn token(kubeconfig: &str) -> anyhow::Result<String> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let user = kubeconfig.auth_infos.into_iter().next().and_then(|named| named.auth_info);
    let token = user.and_then(|user| user.token).context("no token")?;
    Ok(token.expose_secret().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_config_secrets_are_read() -> anyhow::Result<()> {
    let (target, source, kubeconfig) = create_namespace("rest-configs").await?;
    let rest_config = json!({
        "Host": source.server(),
        "BearerToken": token(&kubeconfig)?,
        "TLSClientConfig": { "Insecure": false, "CAData": BASE64_STANDARD.encode(source.ca_pem()) },
    });
    let secret =
        create_secret(target, "rest-configs", argo::CLUSTERS, "c2", &rest_config.to_string()).await?;
    let configs = Reader::default().rest_configs(&secret)?;
    ensure!(configs.keys().eq(["c2"]), "{:?}", configs.keys());
    for (_, config) in configs {
        ensure_works(config, "rest-configs").await?;
    }
    ensure_works(Reader::default().rest_config(&secret, "c2")?, "rest-configs").await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeconfig_secrets_are_read() -> anyhow::Result<()> {
    let (target, _, kubeconfig) = create_namespace("contexts").await?;
    let secret = create_secret(target, "contexts", argo::KUBECONFIG, "value", &kubeconfig).await?;
    let configs = Reader::default().contexts(&secret)?;
    ensure!(configs.keys().eq(["c2"]), "{:?}", configs.keys());
    for (cluster, config) in configs {
        let managed_namespace = &Reader::default().managed_namespace(&secret, &cluster)?;
        let line = ClusterLine { cluster: &cluster, managed_namespace }.to_string();
        ensure!(line == "msg=cluster cluster=c2 managedNamespace=", "{line}");
        ensure_works(config, "contexts").await?;
    }
    ensure_works(Reader::default().context(&secret, "c2")?, "contexts").await
}

#[tokio::test(flavor = "multi_thread")]
async fn profile_secrets_are_read() -> anyhow::Result<()> {
    let (target, _, kubeconfig) = create_namespace("profiles").await?;
    for (name, value) in [("bad", "no kubeconfig"), ("argo.c2", &kubeconfig)] {
        create_secret(target, "profiles", name, "kubeconfig", value).await?;
        let label = format!("{}=c2", argo::CLUSTER_LABEL);
        target.kubectl(["-n", "profiles", "label", "secret", name, &label]).await?;
    }
    let annotation = format!("{}=profiles", argo::REMOTE_NAMESPACE);
    target.kubectl(["-n", "profiles", "annotate", "secret", "argo.c2", &annotation]).await?;

    let labelled = ListParams::default().labels(argo::CLUSTER_LABEL);
    let secrets = Api::<Secret>::namespaced(target.client(), "profiles").list(&labelled).await?;
    let (profiles, errors) = Profiles::read(&secrets);
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    ensure!(
        errors.len() == 1 && errors[0].starts_with("Secret profiles/bad, key kubeconfig: "),
        "{errors:?}"
    );
    ensure!(
        profiles.find("default", "c2", "profiles")?.is_none(),
        "the profile is for workflows in any namespace"
    );
    ensure!(profiles.find("profiles", "c2", "default")?.is_none(), "the profile is for any namespace");
    let found = profiles.find("profiles", "c2", "profiles")?.context("no profile found")?;
    ensure_works(found.config.clone(), "profiles").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_applied_export_is_read_back() -> anyhow::Result<()> {
    let (target, source, _) = create_namespace("exported").await?;
    let reader = Reader::default();
    let api = Api::<Secret>::namespaced(target.client(), "exported");
    type Read = fn(Reader, &Secret) -> anyhow::Result<Config>;
    let forms: [(&str, &str, Read); 3] = [
        ("argo-clusters", argo::CLUSTERS, |reader, secret| Ok(reader.rest_config(secret, "c2")?)),
        ("argo-kubeconfig", argo::KUBECONFIG, |reader, secret| Ok(reader.context(secret, "c2")?)),
        ("argo-profile", "argo.c2", |reader, secret| Ok(reader.profile(secret)?.config)),
    ];
    for (format, name, read) in forms {
        let mut flags = vec![
            "export",
            "pod-lister",
            "-n",
            "exported",
            "--format",
            format,
            "--secret-namespace",
            "exported",
        ];
        let path = target.dir().join(format!("{format}.yaml"));
        for insecure in [false, true] {
            flags.extend(insecure.then_some("--insecure-skip-tls-verify"));
            std::fs::write(&path, kubemcsa_ok(source.kubeconfig(), flags.clone())?)?;
            let file = path.display().to_string();
            target.kubectl(["apply", "--server-side", "-f", &file]).await?;
            let secret = api.get(name).await?;
            ensure!(read(reader, &secret).is_err() == insecure, "{format}, insecure: {insecure}");
            let config = read(reader.allow_insecure(), &secret).with_context(|| format.to_owned())?;
            ensure!(config.accept_invalid_certs == insecure, "{format}, insecure: {insecure}");
            ensure_works(config, "exported")
                .await
                .with_context(|| format!("{format}, insecure: {insecure}"))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_local_cluster_is_read() -> anyhow::Result<()> {
    let (target, _) = shared_clusters().await;
    target.kubectl(["create", "namespace", "local"]).await?;
    let names = BTreeMap::from([("new", "cluster=cluster-0"), ("old", "config=cluster: cluster-0")]);
    for (name, value) in names {
        let value = format!("--from-literal={value}");
        target.kubectl(["-n", "local", "create", "configmap", name, &value]).await?;
        let config_map = Api::<ConfigMap>::namespaced(target.client(), "local").get(name).await?;
        ensure!(argo::local_cluster(&config_map)?.as_deref() == Some("cluster-0"), "{name}");
    }
    Ok(())
}

/// With a valid token, in configurations that are invalid in several ways.
#[tokio::test(flavor = "multi_thread")]
async fn no_error_contains_a_token() -> anyhow::Result<()> {
    let (target, source, kubeconfig) = create_namespace("unsaid").await?;
    let token = token(&kubeconfig)?;
    let rest_config = json!({ "Host": source.server(), "BearerToken": token }).to_string();
    let invalid = [
        ("value", BASE64_STANDARD.encode(&kubeconfig)),
        ("value", kubeconfig.replace("token:", "exec:")),
        ("value", kubeconfig.replace("clusters:", &format!("clusters: {token}"))),
        ("c2", rest_config.replace("\"Host\":", "\"Host\": ,")),
        ("c2", rest_config.replace("\"Host\":", "\"BearerTokenFile\":")),
        ("c2", BASE64_STANDARD.encode(&rest_config)),
    ];
    let mut errors = Vec::new();
    for (number, (key, value)) in invalid.iter().enumerate() {
        let secret = create_secret(target, "unsaid", &format!("invalid-{number}"), key, value).await?;
        let read = if *key == "c2" {
            Reader::default().rest_configs(&secret)
        } else {
            Reader::default().contexts(&secret)
        };
        let Err(error) = read else { anyhow::bail!("invalid-{number} is read") };
        ensure!(error.to_string().contains(&format!("Secret unsaid/invalid-{number}, key {key}")), "{error}");
        errors.push((format!("invalid-{number}"), format!("{error} {error:?}")));
    }
    ensure_no_tokens_in(&[token].into(), errors)
}
