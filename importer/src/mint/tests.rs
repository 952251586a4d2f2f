use std::sync::Arc;

use kube::runtime::watcher::Event;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use rstest::rstest;

use super::*;
use crate::cache::{Cache, LinkEntry};
use crate::model::import::Import;
use crate::resolve::resolve;
use crate::source::fake_api_server::{Response, source};

/// A connection: the UID of its cluster, and how many responses it carries.
type Connection = (&'static str, usize);

#[rstest]
#[case::one_connection(&[("real", 9)], Ok("real"))]
#[case::another_connection(&[("real", 1), ("real", 9)], Ok("real"))]
#[case::token_of_another_cluster(&[("real", 1), ("other", 9)], Err(Reason::ClusterIdentityMismatch))]
#[case::only_other_connections_are_verified(
    &[("real", 1), ("other", 1), ("real", 9)],
    Err(Reason::SourceFailed)
)]
#[tokio::test]
async fn token_counts_only_if_its_own_connection_is_verified(
    #[case] connections: &'static [Connection],
    #[case] expected: Result<&str, Reason>,
) {
    let source = source(move |connection, request, requested| {
        let (uid, responses) = connections[connection];
        Response { closes: request + 1 == responses, ..Response::of_cluster(uid, requested) }
    })
    .await;
    let cache = Cache::default();
    let link = LinkEntry { cluster_name: "c2".into(), version: "1".into(), source: Ok(source) };
    cache.observe_link(Event::Apply(("c2-token".into(), link)));
    let spec = ServiceAccountImportSpec {
        cluster_name: "c2".into(),
        namespace: "team".into(),
        name: "a".into(),
        expiration_seconds: 3600,
        ..Default::default()
    };
    let import = Import::of(ServiceAccountImport::new("a", spec));
    let resolved = resolve(&cache, Arc::new(import)).unwrap();
    let minted = mint(&resolved, Timestamp::UNIX_EPOCH).await;
    let minted = minted.map(|minted| minted.provenance.cluster_uid.unwrap());
    assert_eq!(minted.as_deref().map_err(|failure| failure.reason), expected);
}
