//! The example for cert-manager.

use std::path::Path;

use anyhow::{Context, ensure};
use clap::Parser;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CONFIGURATION, SERVICE};
use mcsa_tests::kubectl;
use mcsa_webhook::Args;
use serde_json::Value;

pub const CERT_MANAGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/cert-manager");

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");

/// The objects that `kubectl apply -k` applies.
pub async fn documents(kustomization: &str) -> anyhow::Result<Vec<Value>> {
    let yaml = kubectl(Path::new("/nonexistent"), ["kustomize", kustomization]).await?;
    yaml.split("\n---\n").map(|document| Ok(serde_saphyr::from_str(document)?)).collect()
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
}

#[tokio::test]
async fn cert_manager_and_webhook_use_the_same_files() -> anyhow::Result<()> {
    let objects = documents(CERT_MANAGER).await?;
    let find =
        |kind: &str, name: &str| find(&objects, kind, name).with_context(|| format!("no {kind} {name}"));
    let pod = &find("Deployment", "webhook")?["spec"]["template"]["spec"];
    let (container, volume) = (&pod["containers"][0], &pod["volumes"][0]);
    let flags = container["args"].as_array().context("args")?.iter().filter_map(Value::as_str);
    let args = Args::try_parse_from(["mcsa-webhook"].into_iter().chain(flags))?;
    let files = args.certificate.files().context("the certificate is not from files")?;
    let mount = &container["volumeMounts"][0];
    let folder = Path::new(mount["mountPath"].as_str().context("mountPath")?);
    // The keys of a Secret of type kubernetes.io/tls.
    ensure!((files.chain, files.key) == (folder.join("tls.crt"), folder.join("tls.key")));
    ensure!(files.authorities.is_none(), "the CA injector maintains the CA bundle");
    ensure!(mount["name"] == volume["name"], "{mount} is not of {volume}");

    let certificate = find("Certificate", "webhook")?;
    ensure!(certificate["spec"]["secretName"] == volume["secret"]["secretName"], "{certificate}");
    let names = certificate["spec"]["dnsNames"].as_array().context("dnsNames")?;
    let configuration = find("MutatingWebhookConfiguration", CONFIGURATION)?;
    for webhook in configuration["webhooks"].as_array().context("webhooks")? {
        let service = &webhook["clientConfig"]["service"];
        ensure!(service["name"] == SERVICE && service["namespace"] == SYSTEM_NAMESPACE, "{service}");
        ensure!(names.contains(&format!("{SERVICE}.{SYSTEM_NAMESPACE}.svc").into()), "{names:?}");
    }
    let injected = &configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    ensure!(*injected == format!("{SYSTEM_NAMESPACE}/webhook"), "{injected}");

    let issuer =
        &find("Issuer", certificate["spec"]["issuerRef"]["name"].as_str().context("issuer")?)?["spec"];
    let authority = find("Certificate", "webhook-ca")?;
    ensure!(authority["spec"]["secretName"] == issuer["ca"]["secretName"], "{issuer}");
    find("Issuer", authority["spec"]["issuerRef"]["name"].as_str().context("its issuer")?)?;
    Ok(())
}

#[tokio::test]
async fn webhook_has_fewer_rights_with_cert_manager() -> anyhow::Result<()> {
    let (plain, objects) = (documents(MANIFESTS).await?, documents(CERT_MANAGER).await?);
    let changed = |object: &&Value| !objects.contains(object);
    let changed = plain.iter().filter(changed).map(|object| {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        format!("{}/{}", kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default())
    });
    let mut changed: Vec<_> = changed.collect();
    changed.sort();
    let webhook = format!("MutatingWebhookConfiguration/{CONFIGURATION}");
    let role = format!("ClusterRole/{CONFIGURATION}");
    ensure!(
        changed == [&role, "Deployment/webhook", &webhook, "Role/webhook", "RoleBinding/webhook"],
        "{changed:?}"
    );
    for (kind, name) in [("Role", "webhook"), ("RoleBinding", "webhook")] {
        ensure!(find(&objects, kind, name).is_none(), "{kind} {name} exists");
    }
    let rules = find(&objects, "ClusterRole", CONFIGURATION).context("no ClusterRole")?["rules"].to_string();
    ensure!(!rules.contains("patch") && !rules.contains("secrets"), "{rules}");
    Ok(())
}
