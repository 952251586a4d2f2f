//! The importer in the test's own process, where the test advances its clock.

mod invalid;
mod policies;

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::config::Mounts;
use mcsa_client::contract::{IMPORT_NAME, LINK_LABEL, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, LinkedTarget, Proxy, apply_link, create_manual_link,
    create_pod_lister, eventually, eventually_within, install_and_link, kubeconfig_with_server, mount,
    pod_lister_import, shared_source, tokens_minted_in, unique,
};
use serde_json::json;

/// The unique ID of the token that a client uses, according to its cluster.
async fn credential_id(client: &Client) -> anyhow::Result<String> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    let extra = review.status.and_then(|status| status.user_info).and_then(|user| user.extra);
    let ids = extra.and_then(|mut extra| extra.remove("authentication.kubernetes.io/credential-id"));
    ids.and_then(|ids| ids.into_iter().next()).context("the credential has no id")
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_refreshed_when_due_and_not_at_a_restart() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let mut import = pod_lister_import("short", "c2", namespace);
    import.spec.expiration_seconds = 600;
    imports.create(&import).await?;
    let ready = eventually("the import is ready", async || imports.ready("short").await).await;
    let status = ready.status.context("the import has no status")?;
    let (expires, refresh) = (
        status.expiration_time.context("the status has no expiration time")?.0,
        status.refresh_time.context("the status has no refresh time")?.0,
    );
    let rest = expires.duration_since(refresh).as_secs();
    ensure!((238..=302).contains(&rest), "of 600 s, {rest} are left at the refresh");
    let first = imports.values("short-token").await?;
    ensure!(tokens_minted_in(source, namespace)? == 1, "more than one token for one import");

    // A program creates a client from the mount.
    let root = tempfile::tempdir()?;
    mount(root.path(), "short", &first)?;
    let client = Mounts::in_dir(root.path()).import("short")?.client();
    let first_id = credential_id(&client).await?;

    // After a restart, the importer reads from the Secret that nothing is due.
    importer.stop().await?;
    let importer = Importer::of(target).await?;
    imports.create(&pod_lister_import("second", "c2", namespace)).await?;
    eventually("the second import is ready", async || imports.ready("second").await).await;
    ensure!(tokens_minted_in(source, namespace)? == 2, "the restart minted a token that was not due");

    importer.clock.advance(refresh.duration_since(importer.clock.now()) + SignedDuration::from_secs(1));
    let second = eventually("the token is refreshed", async || {
        let values = imports.values("short-token").await?;
        ensure!(values["token"] != first["token"], "still the first token");
        anyhow::Ok(values)
    })
    .await;
    eventually("the status has the next refresh time", async || {
        let status = imports.api.get("short").await?.status.context("the import has no status")?;
        let next = status.refresh_time.context("the status has no refresh time")?.0;
        ensure!(next > refresh, "still the first");
        anyhow::Ok(())
    })
    .await;
    ensure!(tokens_minted_in(source, namespace)? == 3, "more than one token for one refresh");

    // kube rereads a token file within a minute. No call fails meanwhile.
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
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_is_repaired_unless_another_object_owns_it() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    target.restart_controller_manager()?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let mut import = pod_lister_import("a", "c2", namespace);
    let template = json!({ "labels": { "kind": "cluster" }, "annotations": { "note": "ours" } });
    import.spec.secret = Some(serde_json::from_value(template.clone())?);
    imports.create(&import).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let whole = imports.values("a-token").await?;
    let keys: Vec<_> = whole.keys().map(String::as_str).collect();
    ensure!(keys == ["ca.crt", "config", "kubeconfig", "namespace", "server", "token"], "{keys:?}");

    let data = |patch: serde_json::Value| json!({ "data": patch });
    for (edit, patch) in [
        ("a value is changed", data(json!({ "token": "c3RvbGVu" }))),
        ("a value is removed", data(json!({ "ca.crt": null }))),
        ("a value is added", data(json!({ "extra": "eA==" }))),
        ("all values are removed", json!({ "data": null })),
        ("our annotations are removed", json!({ "metadata": { "annotations": null } })),
    ] {
        let before = imports.values("a-token").await?["token"].clone();
        imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(patch)).await?;
        eventually(format!("the Secret is repaired after {edit}"), async || {
            let values = imports.values("a-token").await?;
            ensure!(values.keys().eq(whole.keys()), "{:?}", values.keys());
            ensure!(values["token"] != before && values["server"] == whole["server"], "no new token");
            anyhow::Ok(())
        })
        .await;
    }
    // Labels and annotations of others are kept.
    let minted = tokens_minted_in(source, namespace)?;
    let theirs = json!({ "metadata": { "annotations": { "team": "blue" }, "labels": { "team": "blue" } } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(theirs)).await?;

    // Those of the template are restored, without another token.
    let edit = json!({ "metadata": { "labels": { "kind": null }, "annotations": { "note": "edited" } } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(edit)).await?;
    eventually("the label and the annotation are restored", async || {
        let metadata = json!(imports.secrets.get("a-token").await?.metadata);
        ensure!(metadata["labels"]["kind"] == template["labels"]["kind"], "{}", metadata["labels"]);
        ensure!(metadata["annotations"]["note"] == template["annotations"]["note"], "no annotation");
        ensure!(metadata["labels"]["team"] == "blue", "the label of another client was removed");
        Ok::<_, anyhow::Error>(())
    })
    .await;

    // A deleted Secret is created again, with the same name.
    imports.secrets.delete("a-token", &Default::default()).await?;
    eventually("the Secret is back", async || imports.values("a-token").await).await;
    eventually("the import is ready", async || imports.ready("a").await).await;
    ensure!(
        tokens_minted_in(source, namespace)? == minted + 1,
        "a label or annotation of others caused another token"
    );

    // Without its label, the Secret is not in the importer's watch, but still the import's.
    let unlabelled = json!({ "metadata": { "labels": null } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
    eventually("the label is back", async || {
        let labels = imports.secrets.get("a-token").await?.metadata.labels;
        labels.filter(|labels| labels.len() == 2).context("no label")
    })
    .await;
    ensure!(tokens_minted_in(source, namespace)? == minted + 1, "the lost label caused another token");

    // A Secret with another owner is left alone, and the import reports it. The owner exists, or the garbage collector
    // would delete the Secret.
    let maps = Api::<ConfigMap>::namespaced(target.client(), namespace);
    let other = json!({ "metadata": { "name": "other" } });
    let other = maps.create(&PostParams::default(), &serde_json::from_value(other)?).await?;
    let adopted = json!({ "metadata": { "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": other.metadata.uid, "controller": true,
    }] } });
    imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(adopted)).await?;
    eventually("the import reports that the name is taken", async || {
        imports.condition("a", "Refreshed", "False", Some("SecretNameConflict")).await
    })
    .await;
    let theirs = imports.secrets.get("a-token").await?.metadata.resource_version;

    // A Secret that existed before the import, without a label, is not overwritten either.
    let foreign = json!({ "metadata": { "name": "b-token" }, "stringData": { "password": "theirs" } });
    imports.secrets.create(&PostParams::default(), &serde_json::from_value(foreign)?).await?;
    imports.create(&pod_lister_import("b", "c2", namespace)).await?;
    eventually("the second import reports it, too", async || {
        imports.condition("b", "Refreshed", "False", Some("SecretNameConflict")).await
    })
    .await;
    ensure!(imports.values("b-token").await?.keys().eq(["password"]), "overwritten");
    ensure!(imports.secrets.get("a-token").await?.metadata.resource_version == theirs, "overwritten");
    imports.secrets.delete("b-token", &Default::default()).await?;
    eventually("the import is ready when the name is free", async || imports.ready("b").await).await;

    imports.api.delete("b", &Default::default()).await?;
    eventually_within(Duration::from_secs(60), "the deleted import's Secret is collected", async || {
        let gone = imports.secrets.get_opt("b-token").await?.is_none();
        ensure!(gone, "still there");
        anyhow::Ok(())
    })
    .await;
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_follow_their_link() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    let first = imports.values("a-token").await?;

    // A deleted link is reported, and the credential, which still works, is kept.
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    links.delete("c2", &Default::default()).await?;
    eventually("the import reports that there is no link", async || {
        imports.condition("a", "Refreshed", "False", Some("ClusterNotLinked")).await
    })
    .await;
    imports.ready("a").await?;
    ensure!(imports.values("a-token").await? == first, "the credential was changed");

    // Every import follows a link to another address.
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    create_manual_link(target, source).await?;
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

    // An unreachable source is reported, and the credential is kept.
    let working = imports.values("a-token").await?;
    proxy.set(Fault::Refuse);
    importer.clock.advance(SignedDuration::from_mins(55));
    eventually("the import reports that the source is unreachable", async || {
        imports.condition("a", "Refreshed", "False", Some("SourceUnreachable")).await
    })
    .await;
    imports.ready("a").await?;
    ensure!(imports.values("a-token").await? == working, "the credential was changed");
    proxy.set(Fault::Pass);
    eventually("the import recovers", async || imports.condition("a", "Refreshed", "True", None).await).await;

    // A link's own identity can't be imported: that would copy the link.
    let mut stolen = pod_lister_import("stolen", "c2", SYSTEM_NAMESPACE);
    stolen.spec.name = "c1".into();
    imports.create(&stolen).await?;
    eventually("the import of a link's identity is invalid", async || {
        imports.condition("stolen", "Ready", "False", Some("InvalidSpec")).await
    })
    .await;

    // A missing service account is reported by its name.
    let mut absent = pod_lister_import("absent", "c2", namespace);
    absent.spec.name = "nobody".into();
    imports.create(&absent).await?;
    let reported = eventually("the import reports the missing service account", async || {
        imports.condition("absent", "Refreshed", "False", Some("ServiceAccountNotFound")).await
    })
    .await;
    let message = &reported.condition("Refreshed").context("no condition")?.message;
    let account = format!("{namespace}/nobody");
    ensure!(message.contains(&account) && message.contains("create the service account"), "{message}");
    source.kubectl(["-n", namespace, "create", "serviceaccount", "nobody"]).await?;
    eventually("it is ready once the account exists", async || imports.ready("absent").await).await;

    // A token of a deleted service account is dead before it expires; its Secret stays as it is.
    let dead = imports.values("absent-token").await?;
    source.kubectl(["-n", namespace, "delete", "serviceaccount", "nobody"]).await?;
    eventually("the import is not ready once the account is deleted", async || {
        imports.condition("absent", "Ready", "False", Some("ServiceAccountNotFound")).await
    })
    .await;
    ensure!(imports.values("absent-token").await? == dead, "the credential was changed");
    source.kubectl(["-n", namespace, "create", "serviceaccount", "nobody"]).await?;
    eventually("it is ready once the account is back", async || imports.ready("absent").await).await;
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn link_refreshes_itself_in_time() -> anyhow::Result<()> {
    let name = unique("target");
    let (target, source) = tokio::try_join!(Cluster::start(&name), shared_source())?;
    install_and_link(&target, &source)?;
    let namespace = unique("test");
    create_pod_lister(&source, &namespace).await?;
    let links = Imports::of(target.client(), SYSTEM_NAMESPACE);
    let bootstrapped = links.values("c2-token").await?["token"].clone();
    let importer = Importer::of(&target).await?;
    let refresh_time = async || {
        let status = links.ready("c2").await?.status.context("the link has no status")?;
        Ok::<_, anyhow::Error>(status.refresh_time.context("the status has no refresh time")?.0)
    };
    let first = eventually("the importer takes over the link", refresh_time).await;
    let taken_over = links.values("c2-token").await?["token"].clone();
    ensure!(taken_over != bootstrapped, "the token is still bootstrap's");

    importer.clock.advance(first.duration_since(importer.clock.now()) + SignedDuration::from_secs(1));
    eventually("the link is refreshed", async || {
        ensure!(refresh_time().await? > first, "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    let refreshed = links.values("c2-token").await?["token"].clone();
    ensure!(refreshed != taken_over, "the token is the same");

    // A link that lost its labels is none, so the importer restores them without a token.
    let unlabelled = json!({ "metadata": { "labels": null } });
    links.secrets.patch("c2-token", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
    eventually("the link's labels are back", async || {
        let labels = links.secrets.get("c2-token").await?.metadata.labels.unwrap_or_default();
        ensure!(labels.contains_key(LINK_LABEL) && labels.contains_key(IMPORT_NAME), "{labels:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    ensure!(links.values("c2-token").await?["token"] == refreshed, "another token was minted");
    let imports = Imports::of(target.client(), "default");
    imports.create(&pod_lister_import("a", "c2", &namespace)).await?;
    eventually("an import uses the refreshed link", async || imports.ready("a").await).await;
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_source_and_repeated_edits_do_not_affect_other_imports() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    proxy.set(Fault::Hang);
    apply_link(target, "c3", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    let imports = Imports::of(target.client(), namespace);
    // Enough that this test would time out if they delayed other imports: the importer calls for eight imports of a source
    // at a time, and each call hangs for ten seconds.
    for i in 0..60 {
        imports.create(&pod_lister_import(&format!("hangs-{i}"), "c3", namespace)).await?;
    }
    let importer = Importer::of(target).await?;
    eventually("the importer calls the hanging source", async || {
        ensure!(proxy.connections() > 0, "no connection yet");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    eventually("the other source's import is ready", async || imports.ready("a").await).await;
    eventually("the call of the hanging source times out", async || {
        imports.condition("hangs-0", "Ready", "False", Some("SourceUnreachable")).await
    })
    .await;

    // Another controller repeatedly adds a key to our Secret.
    let minted = tokens_minted_in(source, namespace)?;
    let edit = async |value: usize| {
        let patch = json!({ "stringData": { "extra": value.to_string() } });
        imports.secrets.patch("a-token", &PatchParams::default(), &Patch::Merge(patch)).await
    };
    for i in 0..100 {
        edit(i).await?;
    }
    // A slow importer repairs several edits at once.
    let mut edits = 100;
    eventually("the import reports that the edits go on", async || {
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
    let repairs = tokens_minted_in(source, namespace)? - minted;
    ensure!((1..=12).contains(&repairs), "{repairs} tokens were minted for {edits} edits");
    importer.stop().await?;
    linked.release().await
}
