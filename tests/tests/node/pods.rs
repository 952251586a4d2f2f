//! Pods that use imports, and pods that can't.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::contract::{IMPORT_NAME, KUBECONFIG_ENV, MOUNT_ROOT, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Imports, Installation, Node, READY_TIMEOUT, TOOLS_IMAGE, apply_link, ensure_no_tokens_in, eventually,
    eventually_within, images, kubeconfig_with_server, pod_lister_import, restricted_pod, stored_tokens,
    wait_for_default_service_account,
};
use serde_json::{Value, json};

use super::create_pod;

#[tokio::test(flavor = "multi_thread")]
async fn pods_use_imports() -> anyhow::Result<()> {
    let Some(installed) = Installation::start(Node::builder("c1")).await? else { return Ok(()) };
    system_pods_run_without_restarts(&installed).await?;
    client_crate_lists_pods(&installed).await?;
    kubectl_needs_no_configuration(&installed).await?;
    server_name_is_resolved_by_cluster_dns(&installed).await?;
    annotation_has_no_effect_without_label(&installed).await?;
    pod_waits_for_the_secret_of_its_import(&installed).await?;
    // Logs of our pods and of consumers.
    let logs = installed.node.pod_logs()?.into_iter().filter(|(_, log)| !log.is_empty());
    ensure_no_tokens_in(
        &stored_tokens(&installed.node).await?,
        logs.map(|(path, log)| (path.display().to_string(), log)),
    )
}

/// The system namespace enforces the restricted pod security standard, and admits our pods.
async fn system_pods_run_without_restarts(installed: &Installation) -> anyhow::Result<()> {
    let pods = Api::<Pod>::namespaced(installed.node.client(), SYSTEM_NAMESPACE);
    let restarts: Vec<_> = pods
        .list(&ListParams::default())
        .await?
        .iter()
        .map(|pod| {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            (pod.name_any(), statuses.map(|status| status.restart_count).sum::<i32>())
        })
        .collect();
    ensure!(restarts.len() == 6 && restarts.iter().all(|(_, count)| *count == 0), "{restarts:?}");
    Ok(())
}

async fn client_crate_lists_pods(installed: &Installation) -> anyhow::Result<()> {
    let imports = installed.create_namespace("shop").await?;
    installed.create_import(&imports, "shop").await?;
    installed.deploy_listers("shop").await?;
    installed.wait_for_rollout("shop", "lister").await?;
    let server = format!("{}/", installed.source.server());
    eventually("both pods have listed the source's pods", async || {
        let listers = installed.lister_logs("shop")?;
        ensure!(
            listers.len() == 2 && listers.iter().all(|lister| lister.servers.contains(&server)),
            "{listers:?}"
        );
        ensure!(listers.iter().all(|lister| lister.errors.is_empty()), "{listers:?}");
        Ok(())
    })
    .await;
    let log = installed.node.kubectl(["-n", "shop", "logs", "deployment/lister"]).await?;
    ensure!(log.contains("1 pods in namespace shop") && log.contains("shop/nginx Pending"), "{log}");
    Ok(())
}

async fn kubectl_needs_no_configuration(installed: &Installation) -> anyhow::Result<()> {
    let annotations = json!({ IMPORT_NAME: "c2-pod-lister", KUBECONFIG_ENV: "true" });
    create(installed, "shop", "kubectl", annotations, &["kubectl", "get", "pods", "--output=name"]).await?;
    let output = output_of(installed, "shop", "kubectl").await?;
    ensure!(output == "pod/nginx\n", "{output}");
    Ok(())
}

/// A link whose server is a DNS name that only the cluster's DNS resolves.
async fn server_name_is_resolved_by_cluster_dns(installed: &Installation) -> anyhow::Result<()> {
    let (node, source) = (&installed.node, &installed.source);
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "source", "namespace": "default" },
        "spec": { "clusterIP": "None", "ports": [{ "port": source.port() }] },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "source", "namespace": "default", "labels": { "kubernetes.io/service-name": "source" },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [node.host_address().to_string()] }],
        "ports": [{ "port": source.port() }],
    });
    let file = node.dir().join("service.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [service, slice] });
    std::fs::write(&file, list.to_string())?;
    node.kubectl(["apply", "-f", &file.display().to_string()]).await?;
    let server = format!("https://source.default.svc.cluster.local:{}", source.port());
    let mut kubeconfig = kubeconfig_with_server(source.kubeconfig_value(), &server);
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.tls_server_name = Some("localhost".to_owned());
    }
    apply_link(node, "named", &kubeconfig).await?;

    let imports = Imports::of(node.client(), "shop");
    imports.create(&pod_lister_import("named", "named", "shop")).await?;
    eventually("the import of a source with a DNS name is ready", async || imports.ready("named").await)
        .await;
    let annotations = json!({ IMPORT_NAME: "named" });
    let config = format!("--kubeconfig={MOUNT_ROOT}/named/config");
    create(
        installed,
        "shop",
        "named",
        annotations.clone(),
        &["kubectl", &config, "get", "pods", "-o", "name"],
    )
    .await?;
    let output = output_of(installed, "shop", "named").await?;
    ensure!(output == "pod/nginx\n", "{output}");

    let image = &images().await?.list_remote_pods.name;
    create_from(installed, "shop", "rust", image, annotations, &["named"]).await?;
    let output = output_of(installed, "shop", "rust").await?;
    ensure!(output.contains(&format!("of {server}/")), "{output}");
    Ok(())
}

/// In a namespace without the label, the webhook ignores the annotation.
async fn annotation_has_no_effect_without_label(installed: &Installation) -> anyhow::Result<()> {
    installed.node.kubectl(["create", "namespace", "aside"]).await?;
    wait_for_default_service_account(&installed.node, "aside").await;
    let annotations = json!({ IMPORT_NAME: "no-such-import" });
    create(installed, "aside", "aside", annotations, &["ls", "/"]).await?;
    let output = output_of(installed, "aside", "aside").await?;
    // The output lists the root folder; mounts of Secrets would be in the pod's spec.
    let pod = Api::<Pod>::namespaced(installed.node.client(), "aside").get("aside").await?;
    let volumes = serde_json::to_string(&pod.spec.map(|spec| spec.volumes))?;
    ensure!(output.contains("bin") && !volumes.contains("secretName"), "{output}{volumes}");
    Ok(())
}

/// A pod is refused if its import does not exist. If the import has no token yet, the pod waits.
async fn pod_waits_for_the_secret_of_its_import(installed: &Installation) -> anyhow::Result<()> {
    let annotations = json!({ IMPORT_NAME: "late" });
    let args = ["cat", &format!("{MOUNT_ROOT}/late/namespace")];
    let refused = create(installed, "shop", "early", annotations.clone(), &args).await;
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(message.contains("ServiceAccountImport not found: shop/late; create it"), "{message:?}");

    let imports = Imports::of(installed.node.client(), "shop");
    let mut import = pod_lister_import("late", "c2", "shop");
    import.spec.name = "comes-later".to_owned();
    imports.create(&import).await?;
    create(installed, "shop", "early", annotations, &args).await?;
    eventually("the kubelet reports the missing Secret", async || {
        let events = installed.node.kubectl(["-n", "shop", "get", "events", "-o", "json"]).await?;
        ensure!(events.contains("secret \\\"late-token\\\" not found"), "{events}");
        Ok(())
    })
    .await;
    installed.source.kubectl(["-n", "shop", "create", "serviceaccount", "comes-later"]).await?;
    let output = output_of(installed, "shop", "early").await?;
    ensure!(output == "shop", "{output}");
    Ok(())
}

/// Creates a pod of the tools image that runs a command.
async fn create(
    installed: &Installation,
    namespace: &str,
    name: &str,
    annotations: Value,
    args: &[&str],
) -> kube::Result<Pod> {
    create_from(installed, namespace, name, TOOLS_IMAGE, annotations, args).await
}

async fn create_from(
    installed: &Installation,
    namespace: &str,
    name: &str,
    image: &str,
    annotations: Value,
    args: &[&str],
) -> kube::Result<Pod> {
    let mut pod = restricted_pod(image, annotations, args);
    pod["spec"]["restartPolicy"] = "Never".into();
    create_pod(installed, namespace, name, pod).await
}

/// Waits until a pod has succeeded, and returns its log.
async fn output_of(installed: &Installation, namespace: &str, name: &str) -> anyhow::Result<String> {
    let pods = Api::<Pod>::namespaced(installed.node.client(), namespace);
    eventually_within(READY_TIMEOUT, format!("pod {namespace}/{name} has succeeded"), async || {
        let pod = pods.get(name).await?;
        let status = pod.status.unwrap_or_default();
        ensure!(
            status.phase.as_deref() == Some("Succeeded"),
            "{}: {}",
            serde_json::to_string(&status)?,
            pods.logs(name, &Default::default()).await.unwrap_or_default()
        );
        Ok(())
    })
    .await;
    Ok(pods.logs(name, &Default::default()).await?)
}
