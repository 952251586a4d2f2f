//! Names at the limit, and names that are used twice.

use mcsa_credentials::contract::launch::REMOTE_UID;
use mcsa_tests::kubemcsa_ok;

use super::*;

/// The longest names: a kubelet names a folder `<namespace>_<name>_<uid>`, of at most 255 bytes.
const LENGTHS: [usize; 2] = [63, 154];

pub(super) async fn names_are_kept_apart(launched: &Launched) -> anyhow::Result<()> {
    let (home, source) = (launched.home.client(), launched.source.client());
    let [namespace, name] = LENGTHS.map(|length| "n".repeat(length));
    launched.launch(&namespace).await?;
    for namespace in [&*namespace, "names"] {
        create(home.clone(), namespace, &shell(&name, "sleep 600")).await?;
    }
    for namespace in [&*namespace, "names"] {
        let here = phase(launched, namespace, &name, "Running").await;
        let there = Api::<Pod>::namespaced(source.clone(), namespace).get(&name).await?;
        let recorded = here.annotations().get(REMOTE_UID);
        ensure!(recorded.is_some() && recorded == there.uid().as_ref(), "{recorded:?}");
    }

    // Two namespaces of the target share one of the source: a name there belongs to the first that uses it.
    launched.home.kubectl(["create", "namespace", "sharing"]).await?;
    let contexts = ["--target-context", "c1", "--source-context", "c2"];
    let launch = ["launch", "sharing", "--remote-namespace", "names"];
    kubemcsa_ok(&launched.kubeconfig, launch.into_iter().chain(contexts))?;
    mcsa_tests::wait_for_default_service_account(&launched.home, "sharing").await;
    for name in [&*name, "own"] {
        create(home.clone(), "sharing", &shell(name, "sleep 600")).await?;
    }
    let pod = phase(launched, "sharing", &name, "Failed").await;
    ensure!(pod.status.and_then(|status| status.reason).as_deref() == Some("NameCollision"));
    phase(launched, "sharing", "own", "Running").await;
    phase(launched, "names", &name, "Running").await;

    for namespace in [&*namespace, "names", "sharing"] {
        launched.home.kubectl(["-n", namespace, "delete", "pods", "--all", "--wait=false"]).await?;
    }
    for namespace in [&*namespace, "names"] {
        no_pods(launched, namespace).await;
    }
    Ok(())
}
