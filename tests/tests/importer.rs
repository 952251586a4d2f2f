//! The importer in this process, where a test can turn its clock and stop it between two steps.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::ServiceAccountImportSpec;
use mcsa_client::config::Mounts;
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, Proxy, create_manual_link, create_pod_lister, eventually,
    eventually_within, install_and_link, linked_clusters, mount, pod_lister_import, tokens_minted,
};
use serde_json::json;

/// The unique id of the token that a client is known by in its cluster.
async fn credential_id(client: &Client) -> anyhow::Result<String> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let extra = review.status.and_then(|status| status.user_info).and_then(|user| user.extra);
    let ids = extra.and_then(|mut extra| extra.remove("authentication.kubernetes.io/credential-id"));
    ids.and_then(|ids| ids.into_iter().next()).context("the credential has no id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lives_on() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    let mut import = pod_lister_import("short", "c2", "lister");
    import.spec.expiration_seconds = 600;
    imports.create(&import).await?;
    let ready = eventually("the import is ready", async || imports.ready("short").await).await;
    let status = ready.status.context("status")?;
    let (expires, refresh) =
        (status.expiration_time.context("expiry")?.0, status.refresh_time.context("refresh")?.0);
    let rest = expires.duration_since(refresh).as_secs();
    ensure!((238..=302).contains(&rest), "of 600 s, {rest} are left at the refresh");
    let first = imports.values("short-token").await?;
    ensure!(tokens_minted(&source)? == 1, "one import is one token");

    // A program holds a client from the mount.
    let root = tempfile::tempdir()?;
    mount(root.path(), "short", &first)?;
    let client = Mounts::at(root.path()).import("short")?.client();
    let first_id = credential_id(&client).await?;

    // Restarted, the importer knows from the Secret that nothing is due.
    importer.stop().await?;
    let importer = Importer::of(&target).await?;
    imports.create(&pod_lister_import("second", "c2", "lister")).await?;
    eventually("the second import is ready", async || imports.ready("second").await).await;
    ensure!(tokens_minted(&source)? == 2, "a restart mints nothing that is not due");

    // Its time comes.
    importer.clock.turn(refresh.duration_since(importer.clock.now()) + SignedDuration::from_secs(1));
    let second = eventually("the token is refreshed", async || {
        let values = imports.values("short-token").await?;
        ensure!(values["token"] != first["token"], "still the first token");
        anyhow::Ok(values)
    })
    .await;
    eventually("the status says when the next refresh is", async || {
        let status = imports.api.get("short").await?.status.context("status")?;
        ensure!(status.refresh_time.context("refresh time")?.0 > refresh, "still the first");
        anyhow::Ok(())
    })
    .await;
    ensure!(tokens_minted(&source)? == 3, "a refresh is one token");

    // kube re-reads a token file within a minute; no call fails meanwhile.
    mount(root.path(), "short", &second)?;
    let failed = std::cell::RefCell::new(None);
    eventually_within(Duration::from_secs(90), "the client uses the refreshed token", async || {
        let id = credential_id(&client).await.inspect_err(|error| {
            failed.borrow_mut().get_or_insert(error.to_string());
        })?;
        ensure!(id != first_id, "still the first token");
        anyhow::Ok(())
    })
    .await;
    ensure!(failed.borrow().is_none(), "a call failed: {failed:?}");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_repaired_or_left_to_its_owner() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    target.restart_controller_manager()?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let whole = imports.values("a-token").await?;
    let keys: Vec<_> = whole.keys().map(String::as_str).collect();
    ensure!(keys == ["ca.crt", "config", "kubeconfig", "namespace", "server", "token"], "{keys:?}");

    // Edits of any kind.
    let data = |patch: serde_json::Value| json!({ "data": patch });
    for (edit, patch) in [
        ("a value is changed", data(json!({ "token": "c3RvbGVu" }))),
        ("a value is lost", data(json!({ "ca.crt": null }))),
        ("a value is added", data(json!({ "extra": "eA==" }))),
        ("all values are lost", json!({ "data": null })),
        ("our annotations are lost", json!({ "metadata": { "annotations": null } })),
    ] {
        let before = imports.values("a-token").await?["token"].clone();
        imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually(format!("repaired after: {edit}"), async || {
            let values = imports.values("a-token").await?;
            ensure!(values.keys().eq(whole.keys()), "{:?}", values.keys());
            ensure!(values["token"] != before && values["server"] == whole["server"], "not minted anew");
            anyhow::Ok(())
        })
        .await;
    }
    // What others add beside it is theirs.
    let minted = tokens_minted(&source)?;
    let theirs = json!({ "metadata": { "annotations": { "team": "blue" }, "labels": { "team": "blue" } } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(theirs)).await?;

    // Deleted: made again, under the same name.
    imports.secrets.delete("a-token", &Default::default()).await?;
    eventually("the Secret is back", async || imports.values("a-token").await).await;
    eventually("the import is ready", async || imports.ready("a").await).await;
    ensure!(tokens_minted(&source)? == minted + 1, "a label or annotation of others costs no token");

    // Its label lost, the Secret is out of the watch's sight, and still the import's.
    let unlabelled = json!({ "metadata": { "labels": null } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
    eventually("the label is back", async || {
        let labels = imports.secrets.get("a-token").await?.metadata.labels;
        labels.filter(|labels| labels.len() == 1).context("no label")
    })
    .await;

    // Its owner changed: it is left alone, and the import says so.
    let adopted = json!({ "metadata": { "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "11111111-1111-1111-1111-111111111111",
        "controller": true,
    }] } });
    // An owner that does not exist would have the garbage collector delete it.
    let other = json!({ "metadata": { "name": "other" } });
    let maps = Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(target.client(), "default");
    let other = maps.create(&PostParams::default(), &serde_json::from_value(other)?).await?;
    let mut adopted = adopted;
    adopted["metadata"]["ownerReferences"][0]["uid"] = other.metadata.uid.clone().into();
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(adopted)).await?;
    eventually("the import says that the name is taken", async || {
        imports.condition("a", "Refreshed", "False", Some("SecretNameConflict")).await
    })
    .await;
    let theirs = imports.secrets.get("a-token").await?.metadata.resource_version;

    // A Secret that was there first, without a label: never overwritten either.
    let foreign = json!({ "metadata": { "name": "b-token" }, "stringData": { "password": "theirs" } });
    imports.secrets.create(&PostParams::default(), &serde_json::from_value(foreign)?).await?;
    imports.create(&pod_lister_import("b", "c2", "lister")).await?;
    eventually("the second import says so, too", async || {
        imports.condition("b", "Refreshed", "False", Some("SecretNameConflict")).await
    })
    .await;
    ensure!(imports.values("b-token").await?.keys().eq(["password"]), "overwritten");
    ensure!(imports.secrets.get("a-token").await?.metadata.resource_version == theirs, "overwritten");
    imports.secrets.delete("b-token", &Default::default()).await?;
    eventually("with the name free, the import is ready", async || imports.ready("b").await).await;

    // The import deleted: its Secret goes with it.
    imports.api.delete("b", &Default::default()).await?;
    eventually_within(Duration::from_secs(60), "the Secret is collected", async || {
        let gone = imports.secrets.get_opt("b-token").await?.is_none();
        ensure!(gone, "still there");
        anyhow::Ok(())
    })
    .await;
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn links_come_change_and_go() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let first = imports.values("a-token").await?;

    // Gone: said, and the token that works is kept.
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    links.delete("c2", &Default::default()).await?;
    eventually("the import says that there is no link", async || {
        imports.condition("a", "Refreshed", "False", Some("ClusterNotLinked")).await
    })
    .await;
    imports.ready("a").await?;
    ensure!(imports.values("a-token").await? == first, "the credential was touched");

    // Back, at another address: every import follows.
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    create_manual_link(&target, &source).await?;
    eventually("the import is refreshed", async || imports.condition("a", "Refreshed", "True", None).await)
        .await;
    let moved = std::fs::read_to_string(source.kubeconfig())?.replace(&source.server(), &proxy.url());
    ensure!(moved.contains(&proxy.url()), "the kubeconfig names no server");
    let patch = json!({ "stringData": { "kubeconfig": moved } });
    links.patch("c2", &PatchParams::default(), &Patch::Merge(patch)).await?;
    eventually("the Secret names the new address", async || {
        let values = imports.values("a-token").await?;
        ensure!(values["server"] == proxy.url(), "{}", values["server"]);
        ensure!(values["config"].contains(&proxy.url()), "config");
        anyhow::Ok(())
    })
    .await;

    // Away, and hostile: said, and the token that works is kept.
    let working = imports.values("a-token").await?;
    proxy.set(Fault::Refuse);
    importer.clock.turn(SignedDuration::from_mins(55));
    eventually("the import says that the source is away", async || {
        imports.condition("a", "Refreshed", "False", Some("SourceUnreachable")).await
    })
    .await;
    imports.ready("a").await?;
    ensure!(imports.values("a-token").await? == working, "the credential was touched");
    proxy.set(Fault::Pass);
    eventually("the import recovers", async || imports.condition("a", "Refreshed", "True", None).await).await;

    // A link's own identity, which would be the link itself, is not for import.
    let mut stolen = pod_lister_import("stolen", "c2", SYSTEM_NAMESPACE);
    stolen.spec.name = "c1".into();
    imports.create(&stolen).await?;
    eventually("the import is told so", async || {
        imports.condition("stolen", "Ready", "False", Some("InvalidSpec")).await
    })
    .await;

    // What is asked for in vain is said with its name.
    let mut absent = pod_lister_import("absent", "c2", "lister");
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    let said = eventually("the import says what is missing", async || {
        imports.condition("absent", "Refreshed", "False", Some("ServiceAccountNotFound")).await
    })
    .await;
    let message = &said.condition("Refreshed").context("condition")?.message;
    ensure!(message.contains("lister/nobody") && message.contains("create the service account"), "{message}");
    source.kubectl(["-n", "lister", "create", "serviceaccount", "nobody"]).await?;
    eventually("it is ready once the account is there", async || imports.ready("absent").await).await;
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_refreshes_itself_in_time() -> anyhow::Result<()> {
    let (target, source) =
        tokio::try_join!(Cluster::start("c1"), Cluster::builder("c2").audit_log().start())?;
    install_and_link(&target, &source)?;
    create_pod_lister(&source, "lister").await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    let bootstrapped = links.values("c2-token").await?["token"].clone();
    let importer = Importer::of(&target).await?;
    let refresh_time = async || {
        let status = links.ready("c2").await?.status.context("status")?;
        Ok::<_, anyhow::Error>(status.refresh_time.context("refresh time")?.0)
    };
    let first = eventually("the importer takes the link over", refresh_time).await;
    let taken_over = links.values("c2-token").await?["token"].clone();
    ensure!(taken_over != bootstrapped, "the token is still bootstrap's");

    importer.clock.turn(first.duration_since(importer.clock.now()) + SignedDuration::from_secs(1));
    eventually("the link is refreshed", async || {
        ensure!(refresh_time().await? > first, "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    ensure!(links.values("c2-token").await?["token"] != taken_over, "the token is the same");
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the refreshed link serves", async || imports.ready("a").await).await;
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_and_a_writer_that_insists_harm_no_one_else() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    let hanging = std::fs::read_to_string(source.kubeconfig())?.replace(&source.server(), &proxy.url());
    let secret = json!({
        "metadata": { "name": "c3", "labels": { LINK_LABEL: "true" } },
        "stringData": { "kubeconfig": hanging },
    });
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    links.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let imports = Imports::of(target.client(), "default");
    // So many that, if they held back others, those would not be ready before this test gives up: eight
    // at a time, ten seconds each.
    for i in 0..60 {
        imports.create(&pod_lister_import(&format!("hangs-{i}"), "c3", "lister")).await?;
    }
    let importer = Importer::of(&target).await?;
    eventually("the hanging source is called", async || {
        ensure!(proxy.connections() > 0, "no connection yet");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the other source's import is ready", async || imports.ready("a").await).await;
    eventually("the hanging source is given up", async || {
        imports.condition("hangs-0", "Ready", "False", Some("SourceUnreachable")).await
    })
    .await;

    // Another controller that insists on a key of its own in our Secret.
    let minted = tokens_minted(&source)?;
    let edit = async |value: usize| {
        let patch = json!({ "stringData": { "extra": value.to_string() } });
        imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(patch)).await
    };
    for i in 0..100 {
        edit(i).await?;
    }
    // Where the importer is slow, one repair may be for many of these.
    let mut edits = 100;
    eventually("it is said that this goes on", async || {
        edits += 1;
        edit(edits).await?;
        imports.condition("a", "Refreshed", "False", Some("TooManyRepairs")).await
    })
    .await;
    eventually("the last edit is repaired", async || {
        let values = imports.values("a-token").await?;
        ensure!(!values.contains_key("extra"), "still there");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    let repairs = tokens_minted(&source)? - minted;
    ensure!((1..=12).contains(&repairs), "{repairs} tokens were minted for {edits} edits");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_behind_the_address_gets_no_token() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    let pin = json!({ "metadata": { "annotations": { mcsa_client::contract::CLUSTER_UID: "another" } } });
    links.patch("c2", &PatchParams::default(), &Patch::Merge(pin)).await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import says that it is another cluster", async || {
        imports.condition("a", "Ready", "False", Some("ClusterIdentityMismatch")).await
    })
    .await;
    ensure!(tokens_minted(&source)? == 0, "a token flowed");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses() -> anyhow::Result<()> {
    let (target, _source) = linked_clusters().await?;
    let imports = Imports::of(target.client(), "default");
    let refused = async |name: &str, change: fn(&mut ServiceAccountImportSpec), said: &str| {
        let mut import = pod_lister_import(name, "c2", "lister");
        change(&mut import.spec);
        let error = imports.create(&import).await.err().context("it was accepted")?.to_string();
        ensure!(error.contains(said), "{said:?} is not in: {error}");
        anyhow::Ok(())
    };
    refused("a", |spec| spec.expiration_seconds = 599, "600").await?;
    refused("a", |spec| spec.cluster_name = "C2".into(), "spec.clusterName").await?;
    refused("a", |spec| spec.namespace = "a.b".into(), "spec.namespace").await?;
    refused("a", |spec| spec.name = String::new(), "spec.name").await?;
    refused(&"a".repeat(248), |_| {}, "at most 247 characters").await?;

    let mut import = imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    import.spec.secret =
        Some(mcsa_client::api::SecretTemplate { name: Some("other".into()), ..Default::default() });
    let error = imports.api.replace("a", &PostParams::default(), &import).await.unwrap_err().to_string();
    ensure!(error.contains("secret.name can't change"), "{error}");
    Ok(())
}
