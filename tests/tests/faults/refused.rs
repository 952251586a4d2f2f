//! The source refuses the link: its identity (401), its rights (403), its rate (429). Or a webhook delays it.

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{Event, ServiceAccount};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, LinkedTarget, Proxy, apply_link, client, create_pod_lister,
    eventually, kubeconfig_with_server,
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Subject, for_a_day};

const EDITS: usize = 200;

/// The number of tokens that were requested for a service account, whether the source granted them or not.
fn tokens_requested(source: &Cluster, namespace: &str, name: &str) -> anyhow::Result<usize> {
    let requests = source.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.as_ref().filter(|object| object.subresource == "token");
        event.stage == "ResponseComplete"
            && object.is_some_and(|object| object.namespace == namespace && object.name == name)
    });
    Ok(requests.count())
}

/// A kubeconfig of the link's own service account, `links/c1`.
async fn identity(source: &Cluster) -> anyhow::Result<Kubeconfig> {
    Ok(Kubeconfig::read_from(source.kubeconfig_of("links", "c1").await?)?)
}

/// Waits until the source responds to the kubeconfig's identity with this status.
async fn wait_for_response(kubeconfig: &Kubeconfig, code: u16) -> anyhow::Result<()> {
    let mut config = Config::try_from(kubeconfig.clone())?;
    config.proxy_url = None;
    // kube's client would retry.
    config.default_retry = false;
    let reviews = Api::<SelfSubjectReview>::all(Client::try_from(config)?);
    eventually(format!("the source responds to the link with {code}"), async || {
        match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
            Ok(_) if code == 201 => Ok(()),
            Err(kube::Error::Api(status)) if status.code == code => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_reports_why_the_source_refuses_its_link() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let role = |name: &'static str, verbs: &'static str, resources: &'static str| {
        ["create", "clusterrole", name, verbs, resources]
    };
    let bind = |name: &'static str| {
        ["create", "clusterrolebinding", name, "--serviceaccount=links:c1", "--clusterrole", name]
    };
    for args in [
        &["create", "namespace", "links"][..],
        &["-n", "links", "create", "serviceaccount", "c1"],
        &role("reader", "--verb=get,list,watch", "--resource=serviceaccounts"),
        &role("identifier", "--verb=get", "--resource=namespaces"),
        &role("minter", "--verb=create", "--resource=serviceaccounts/token"),
        &bind("reader"),
        &bind("identifier"),
        &bind("minter"),
    ] {
        source.kubectl(args).await?;
    }
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    let identity = async || anyhow::Ok(kubeconfig_with_server(identity(source).await?, &proxy.url()));
    let link = identity().await?;
    apply_link(target, "c2", &link).await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&for_a_day("a", "c2", namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;

    // 401: its identity is gone. A link with another identity repairs it at once.
    source.kubectl(["-n", "links", "delete", "serviceaccount", "c1"]).await?;
    wait_for_response(&link, 401).await?;
    let failed = a.refresh_fails("LinkUnauthorized").await?;
    ensure!(
        failed.message.contains("kubemcsa bootstrap") && failed.message.contains("c2"),
        "{}",
        failed.message
    );
    source.kubectl(["-n", "links", "create", "serviceaccount", "c1"]).await?;
    let link = identity().await?;
    apply_link(target, "c2", &link).await?;
    a.has_another(&failed.values).await;

    // 403: it cannot request tokens.
    source.kubectl(["delete", "clusterrolebinding", "minter"]).await?;
    let review = ["auth", "can-i", "create", "serviceaccounts", "--subresource=token", "-n", namespace];
    let may_mint = async || {
        let user = ["--as=system:serviceaccount:links:c1"];
        source.kubectl(review.iter().chain(&user)).await.is_ok()
    };
    eventually(
        "the link cannot request tokens",
        async || if may_mint().await { Err("it can") } else { Ok(()) },
    )
    .await;
    let failed = a.refresh_fails("Forbidden").await?;
    ensure!(
        failed.message.contains(&format!("{namespace}/pod-lister")) && failed.message.contains("c2"),
        "{}",
        failed.message
    );
    // A client that edits an import again and again causes few calls.
    let mut edited = for_a_day("b", "c2", namespace);
    edited.spec.name = "absent".into();
    imports.create(&edited).await?;
    let b = Subject { importer: &importer, imports: &imports, name: "b" };
    b.fails("Forbidden").await?;
    for i in 0..EDITS {
        let edit = json!({ "spec": { "expirationSeconds": 3600 + i } });
        imports.api.patch("b", &PatchParams::default(), &Patch::Merge(edit)).await?;
    }
    let requested = tokens_requested(source, namespace, "absent")?;
    ensure!((1..EDITS / 10).contains(&requested), "{requested} tokens were requested after {EDITS} edits");
    source.kubectl(bind("minter")).await?;
    eventually(
        "the link can request tokens",
        async || if may_mint().await { Ok(()) } else { Err("it cannot") },
    )
    .await;
    a.recovers(&failed).await;
    // The last edit is not lost.
    b.fails("ServiceAccountNotFound").await?;
    imports.api.delete("b", &DeleteParams::default()).await?;

    // 403: it cannot get the cluster's identity, which the importer requests over each new connection.
    source.kubectl(["delete", "clusterrolebinding", "identifier"]).await?;
    let may_identify = async || {
        let review =
            ["auth", "can-i", "get", "namespaces/kube-system", "--as=system:serviceaccount:links:c1"];
        source.kubectl(review).await.is_ok()
    };
    eventually(
        "the link cannot get the identity",
        async || {
            if may_identify().await { Err("it can") } else { Ok(()) }
        },
    )
    .await;
    proxy.set(Fault::Cut);
    let failed = a.refresh_fails("LinkForbidden").await?;
    ensure!(
        failed.message.contains("kube-system") && failed.message.contains("kubemcsa bootstrap"),
        "{}",
        failed.message
    );
    source.kubectl(bind("identifier")).await?;
    eventually(
        "the link can get the identity",
        async || {
            if may_identify().await { Ok(()) } else { Err("it cannot") }
        },
    )
    .await;
    a.recovers(&failed).await;

    // 429: the source rejects all requests of the link.
    let throttle = throttle(source, &link).await?;
    wait_for_response(&link, 429).await?;
    let failed = a.refresh_fails("Throttled").await?;
    ensure!(failed.message.contains("c2"), "{}", failed.message);
    drop(throttle);
    source.kubectl(["delete", "flowschema", "no-links"]).await?;
    // Otherwise, the importer would be throttled once more, and retry only after a minute.
    wait_for_response(&link, 201).await?;
    a.recovers(&failed).await;
    importer.stop().await.context("stopping the importer")?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_webhook_of_the_source_delays_only_imports_that_it_reviews() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let slow = format!("{namespace}-slow");
    create_pod_lister(source, &slow).await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    let webhooks = Api::<ValidatingWebhookConfiguration>::all(source.client());
    webhooks.create(&PostParams::default(), &hanging_webhook(&slow, &slow, &proxy)?).await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let subject = |name| Subject { importer: &importer, imports: &imports, name };
    imports.create(&for_a_day("a", "c2", namespace)).await?;
    subject("a").ready().await;
    // An API server reads a new webhook configuration from its cache.
    eventually("the webhook is called", async || {
        let request = ["-n", slow.as_str(), "create", "token", "pod-lister", "--request-timeout=1s"];
        drop(source.kubectl(request).await);
        if proxy.connections() == 0 { Err("it is not") } else { Ok(()) }
    })
    .await;

    imports.create(&for_a_day("b", "c2", &slow)).await?;
    let message = subject("b").fails("TokenRequestTimedOut").await?;
    ensure!(message.contains(&format!("{slow}/pod-lister")) && message.contains("webhook"), "{message}");
    let before = subject("a").values().await?;
    importer.advance_to_refresh(&imports, "a").await?;
    subject("a").has_another(&before).await;
    imports.create(&for_a_day("c", "c2", namespace)).await?;
    subject("c").ready().await;
    for name in ["a", "c"] {
        let of_it = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = Api::<Event>::namespaced(target.client(), namespace).list(&of_it).await?;
        let warning = events.items.iter().find(|event| event.type_.as_deref() == Some("Warning"));
        ensure!(warning.is_none(), "{name} failed: {warning:?}");
    }

    webhooks.delete(&slow, &Default::default()).await?;
    drop(proxy);
    importer.clock.advance(SignedDuration::from_mins(5));
    subject("b").ready().await;
    importer.stop().await?;
    linked.release().await
}

/// A webhook that reviews token requests in a namespace of the source, and never responds while the proxy hangs.
fn hanging_webhook(
    name: &str,
    namespace: &str,
    proxy: &Proxy,
) -> anyhow::Result<ValidatingWebhookConfiguration> {
    let webhook = json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": "hangs.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 30,
            "clientConfig": { "url": proxy.url() },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["serviceaccounts/token"],
            }],
        }],
    });
    Ok(serde_json::from_value(webhook)?)
}

/// Makes API Priority and Fairness reject all requests of the link, until the returned value is dropped.
///
/// A priority level without seats still serves one request at a time. An admission webhook that does not respond
/// occupies it.
async fn throttle(source: &Cluster, link: &Kubeconfig) -> anyhow::Result<Throttle> {
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    let level = json!({
        "metadata": { "name": "none" },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 0,
            // It must not borrow from other levels either.
            "borrowingLimitPercent": 0,
            "limitResponse": { "type": "Reject" },
        } },
    });
    let account = json!({ "namespace": "links", "name": "c1" });
    let everything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
    });
    let schema = json!({
        "metadata": { "name": "no-links" },
        "spec": {
            "priorityLevelConfiguration": { "name": "none" },
            "matchingPrecedence": 2,
            "rules": [{
                "subjects": [{ "kind": "ServiceAccount", "serviceAccount": account }],
                "resourceRules": [everything],
            }],
        },
    });
    let (admin, parameters) = (source.client(), PostParams::default());
    let webhooks = Api::<ValidatingWebhookConfiguration>::all(admin.clone());
    webhooks.create(&parameters, &hanging_webhook("hangs", "links", &proxy)?).await?;
    let levels = Api::<PriorityLevelConfiguration>::all(admin.clone());
    levels.create(&parameters, &serde_json::from_value(level)?).await?;
    let schemas = Api::<FlowSchema>::all(admin);
    schemas.create(&parameters, &serde_json::from_value(schema)?).await?;

    let accounts = Api::<ServiceAccount>::namespaced(client(link.clone())?, "links");
    let held = tokio::spawn(async move {
        loop {
            drop(accounts.create_token_request("c1", &PostParams::default(), &Default::default()).await);
        }
    });
    Ok(Throttle { held, _proxy: proxy })
}

struct Throttle {
    held: JoinHandle<()>,
    _proxy: Proxy,
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.held.abort();
    }
}
