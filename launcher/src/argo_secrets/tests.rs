use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use mcsa_client::argo::CLUSTERS;

use super::*;

/// A Secret of the first design, with this cluster. Nothing listens at its address.
fn secret(cluster: &str) -> Secret {
    let config = r#"{ "Host": "https://127.0.0.1:1", "BearerToken": "t0ken" }"#;
    let data = [(cluster.to_owned(), ByteString(config.into()))];
    let mut secret = Secret { data: Some(data.into()), ..Default::default() };
    secret.metadata.name = Some(CLUSTERS.to_owned());
    secret
}

/// Completes all lists: that of the first design with these Secrets, and the others without.
fn list(lists: &Sender<Lists>, secrets: Vec<Secret>) {
    lists.send_modify(|lists| {
        let selections = lists.selections();
        for selection in &selections {
            lists.handle(selection, Ok(Event::Init));
        }
        // The order of the kinds begins with the first design.
        for secret in secrets {
            lists.handle(&selections[0], Ok(Event::InitApply(secret)));
        }
        for selection in &selections {
            lists.handle(selection, Ok(Event::InitDone));
        }
    });
}

#[tokio::test(start_paused = true)]
async fn secrets_that_change_often_are_applied_once_in_a_while() {
    let clusters = Clusters::fixed::<&str>([]);
    let namespaces = BTreeSet::from(["argo".to_owned()]);
    let (lists, observed) = channel(Lists::new("argo", &namespaces));
    let (synced, mut are_synced) = channel(false);
    let member = |cluster: &str| clusters.get(&format!("argo.{cluster}/argo"));
    let change = async {
        list(&lists, vec![secret("c2")]);
        are_synced.wait_for(|synced| *synced).await.unwrap();
        let first = member("c2");
        assert!(first.is_some());
        // Gone and back, before the next plan.
        list(&lists, vec![]);
        sleep(PAUSE / 2).await;
        list(&lists, vec![secret("c2")]);
        sleep(PAUSE).await;
        assert_eq!(member("c2"), first);
        list(&lists, vec![secret("c3")]);
        sleep(PAUSE).await;
        assert!(member("c2").is_none() && member("c3").is_some());
    };
    tokio::select! {
        never = apply(("argo", &namespaces, Reader::default()), clusters.clone(), observed, &synced) => match never {},
        () = change => {}
    }
}
