//! Secrets for other programs: the examples are applied unchanged, and each Secret is parsed like its consumer does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt};
use mcsa_client::contract::{self, GROUP, IMPORT_NAME, LINK_LABEL};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_tests::{Cluster, Importer, Imports, client, eventually, linked_clusters};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// What a consumer reads from a Secret.
struct Access {
    server: String,
    /// PEM.
    authority: String,
    token: String,
}

/// A cluster Secret of Argo CD.
/// <https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters>
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgoCd {
    name: String,
    server: String,
    config: String,
}

/// The fields of `config` that we set.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgoCdConfig {
    bearer_token: String,
    tls_client_config: ArgoCdTls,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArgoCdTls {
    insecure: bool,
    ca_data: String,
}

fn argo_cd(secret: &Secret) -> anyhow::Result<Access> {
    let labels = secret.labels();
    ensure!(
        labels.get("argocd.argoproj.io/secret-type").is_some_and(|value| value == "cluster"),
        "{labels:?}"
    );
    let ArgoCd { name, server, config } = values(secret)?;
    ensure!(name == "c2", "Applications refer to the cluster as c2, not {name}");
    let ArgoCdConfig { bearer_token, tls_client_config } = serde_json::from_str(&config)?;
    ensure!(!tls_client_config.insecure, "TLS verification is disabled");
    let authority = decode(&tls_client_config.ca_data)?;
    Ok(Access { server, authority, token: bearer_token })
}

/// The key that Flux reads if a reference doesn't name one.
/// <https://fluxcd.io/flux/components/kustomize/kustomizations/#kubeconfig-reference>
///
/// Cluster API uses the same key.
/// <https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane#cluster-kubeconfig-management>
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueKey {
    value: String,
}

fn flux(secret: &Secret) -> anyhow::Result<Access> {
    ensure!(secret.name_any() == "c2-kubeconfig", "a Kustomization references c2-kubeconfig");
    let ValueKey { value } = values(secret)?;
    kubeconfig(&value)
}

fn cluster_api(secret: &Secret) -> anyhow::Result<Access> {
    ensure!(
        secret.name_any() == "c2-kubeconfig",
        "Cluster API expects a Secret that is named after the Cluster"
    );
    let labels = secret.labels();
    ensure!(labels.get("cluster.x-k8s.io/cluster-name").is_some_and(|value| value == "c2"), "{labels:?}");
    let ValueKey { value } = values(secret)?;
    kubeconfig(&value)
}

/// A worker cluster of MultiKueue.
/// <https://kueue.sigs.k8s.io/docs/tasks/manage/setup_multikueue/>
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MultiKueue {
    kubeconfig: String,
}

fn multi_kueue(secret: &Secret) -> anyhow::Result<Access> {
    ensure!(
        secret.namespace().as_deref() == Some("kueue-system"),
        "Kueue reads Secrets in its own namespace only"
    );
    let MultiKueue { kubeconfig: value } = values(secret)?;
    kubeconfig(&value)
}

/// The fields of a kubeconfig in a Secret that all consumers support.
/// <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>
///
/// Absent: file names, exec plugins and insecure TLS, which Kueue refuses; proxies, which Flux ignores.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelfContained {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(rename = "current-context")]
    current_context: String,
    clusters: [Named<ClusterEntry>; 1],
    users: [Named<UserEntry>; 1],
    contexts: [Named<ContextEntry>; 1],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named<T> {
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    entry: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClusterEntry {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextEntry {
    cluster: String,
    user: String,
    namespace: String,
}

fn kubeconfig(yaml: &str) -> anyhow::Result<Access> {
    let parsed: SelfContained = serde_saphyr::from_str(yaml).context("not a self-contained kubeconfig")?;
    ensure!((parsed.api_version.as_str(), parsed.kind.as_str()) == ("v1", "Config"));
    let ([cluster], [user], [context]) = (parsed.clusters, parsed.users, parsed.contexts);
    ensure!(parsed.current_context == context.name && !context.entry.namespace.is_empty());
    ensure!((&context.entry.cluster, &context.entry.user) == (&cluster.name, &user.name));
    let authority = decode(&cluster.entry.certificate_authority_data)?;
    Ok(Access { server: cluster.entry.server, authority, token: user.entry.token })
}

/// The values of a Secret. Fails if it has a key that the consumer doesn't know.
fn values<T: DeserializeOwned>(secret: &Secret) -> anyhow::Result<T> {
    let data = secret.data.iter().flatten();
    let text = data.map(|(key, value)| Ok((key, String::from_utf8(value.0.clone())?)));
    let text: BTreeMap<_, _> = text.collect::<anyhow::Result<_>>()?;
    Ok(serde_json::from_value(json!(text))?)
}

fn decode(value: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8(BASE64_STANDARD.decode(value)?)?)
}

/// Lists pods with only what the consumer has, and returns the user name.
async fn list_pods(access: &Access, namespace: &str) -> anyhow::Result<String> {
    let config = json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "c" } }],
        "clusters": [{ "name": "c", "cluster": {
            "server": access.server,
            "certificate-authority-data": BASE64_STANDARD.encode(&access.authority),
        } }],
        "users": [{ "name": "c", "user": { "token": access.token } }],
    });
    let client = client(serde_json::from_value::<Kubeconfig>(config)?)?;
    Api::<Pod>::namespaced(client.clone(), namespace).list(&Default::default()).await?;
    let reviews = Api::<SelfSubjectReview>::all(client);
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.context("the review has no user name")
}

/// An example in examples/consumers.
struct Example {
    file: PathBuf,
    import: ServiceAccountImport,
}

impl Example {
    fn read(name: &str) -> anyhow::Result<Self> {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/consumers"));
        let file = folder.join(name).with_extension("yaml");
        let import = serde_saphyr::from_str(&std::fs::read_to_string(&file)?)?;
        Ok(Self { file, import })
    }

    /// Creates what the example requires, and applies it.
    async fn apply(&self, target: &Cluster, source: &Cluster) -> anyhow::Result<Imports> {
        let ServiceAccountImportSpec { namespace, name, .. } = &self.import.spec;
        for args in [
            &["create", "namespace", namespace][..],
            &["-n", namespace, "create", "serviceaccount", name],
            &["-n", namespace, "create", "role", name, "--verb=list", "--resource=pods"],
            &[
                "-n",
                namespace,
                "create",
                "rolebinding",
                name,
                &format!("--role={name}"),
                &format!("--serviceaccount={namespace}:{name}"),
            ],
        ] {
            source.kubectl(args).await?;
        }
        let consumer = self.import.namespace().context("the example names no namespace")?;
        target.kubectl(["create", "namespace", &consumer]).await?;
        target.kubectl(["apply", "-f", &self.file.display().to_string()]).await?;
        Ok(Imports::of(target.client(), &consumer))
    }
}

/// What a refresh must not change: type, keys, UID, and labels and annotations of others.
fn shape(secret: &Secret) -> impl PartialEq + std::fmt::Debug + use<> {
    let of_others = |entries: &BTreeMap<String, String>| {
        let entries = entries.iter().filter(|(key, _)| !key.starts_with(GROUP));
        entries.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
    };
    let keys: Vec<_> = secret.data.iter().flatten().map(|(key, _)| key.clone()).collect();
    (secret.type_.clone(), keys, of_others(secret.labels()), of_others(secret.annotations()), secret.uid())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_consumer_can_read_its_secret_after_a_refresh() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    let importer = Importer::of(&target).await?;
    type Read = fn(&Secret) -> anyhow::Result<Access>;
    for (example, read) in [
        ("argocd", argo_cd as Read),
        ("flux", flux),
        ("cluster-api", cluster_api),
        ("multikueue", multi_kueue),
    ] {
        let describe = || format!("reading as the consumer of {example}.yaml");
        let example = Example::read(example)?;
        let imports = example.apply(&target, &source).await?;
        let import = example.import.name_any();
        let ServiceAccountImportSpec { namespace, name, secret: template, .. } = &example.import.spec;
        let template = template.clone().context("the example has no template")?;
        let secret_name = template.name.clone().context("the example's Secret has no name")?;
        eventually(format!("{import} is ready"), async || imports.ready(&import).await).await;

        let first = imports.secrets.get(&secret_name).await?;
        ensure!(first.type_.as_deref() == Some("Opaque"), "{:?}", first.type_);
        ensure!(template.labels.iter().all(|(key, value)| first.labels().get(key) == Some(value)));
        ensure!(first.labels()[IMPORT_NAME] == import);
        let keys: Vec<_> = template.items.iter().map(|item| &item.key).collect();
        ensure!(
            first.data.iter().flatten().all(|(key, _)| keys.contains(&key)),
            "a key is not one of {keys:?}"
        );
        let access = read(&first).with_context(describe)?;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        ensure!(list_pods(&access, namespace).await.with_context(describe)? == user);

        importer.advance_to_refresh(&imports, &import).await?;
        let second = eventually(format!("{import} has another token"), async || {
            let secret = imports.secrets.get(&secret_name).await?;
            ensure!(read(&secret)?.token != access.token, "the token has not changed");
            anyhow::Ok(secret)
        })
        .await;
        ensure!(shape(&second) == shape(&first), "{:?} changed to {:?}", shape(&first), shape(&second));
        ensure!(list_pods(&read(&second)?, namespace).await.with_context(describe)? == user);
    }
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn template_can_add_metadata_but_not_replace_ours() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    let importer = Importer::of(&target).await?;
    let example = Example::read("argocd")?;
    let imports = example.apply(&target, &source).await?;
    let before = eventually("the import is ready", async || {
        imports.ready("c2").await?;
        imports.secrets.get("cluster-c2").await.map_err(anyhow::Error::from)
    })
    .await;

    // The template also sets our annotations, and the label of links.
    let forged =
        ["expiration-time", "refresh-time", "service-account-uid", "cluster-uid", "fingerprint", "anything"];
    let forged = forged.map(|name| (format!("{GROUP}/{name}"), "forged".to_owned()));
    let mut annotations = BTreeMap::from(forged);
    annotations.insert(contract::CLUSTER_NAME.into(), "forged".into());
    annotations.insert("team".into(), "blue".into());
    let labels = json!({ IMPORT_NAME: "forged", LINK_LABEL: "true", "team": "blue" });
    let patch = json!({ "spec": { "secret": { "labels": labels, "annotations": annotations } } });
    imports.api.patch("c2", &PatchParams::default(), &Patch::Merge(patch)).await?;
    let after = eventually("the Secret has the additions", async || {
        imports.condition("c2", "Refreshed", "True", None).await?;
        let secret = imports.secrets.get("cluster-c2").await?;
        ensure!(secret.labels().get("team").is_some_and(|team| team == "blue"), "no label");
        ensure!(secret.annotations().get("team").is_some_and(|team| team == "blue"), "no annotation");
        anyhow::Ok(secret)
    })
    .await;
    ensure!(after.labels()[IMPORT_NAME] == "c2" && !after.labels().contains_key(LINK_LABEL));
    ensure!(after.labels()["argocd.argoproj.io/secret-type"] == "cluster", "the old label is lost");
    ensure!(after.annotations().keys().eq(before.annotations().keys().chain([&"team".to_owned()])));
    ensure!(after.annotations().values().all(|value| value != "forged"), "{:?}", after.annotations());
    list_pods(&argo_cd(&after)?, "argocd").await?;

    // What is removed from the template is removed from the Secret.
    let patch = json!({ "spec": { "secret": { "labels": null, "annotations": null } } });
    imports.api.patch("c2", &PatchParams::default(), &Patch::Merge(patch)).await?;
    eventually("the additions are removed", async || {
        let secret = imports.secrets.get("cluster-c2").await?;
        ensure!(secret.labels().keys().eq([IMPORT_NAME]), "{:?}", secret.labels());
        ensure!(secret.annotations().keys().eq(before.annotations().keys()), "{:?}", secret.annotations());
        anyhow::Ok(())
    })
    .await;
    importer.stop().await
}
