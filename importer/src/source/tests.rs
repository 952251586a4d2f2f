use jiff::SignedDuration;
use rstest::rstest;

use super::fake_api_server::{Requested, Response, source};
use super::*;

/// A source that refuses identity requests with this status code; 200 grants them.
async fn with_identity_response(code: u16) -> Arc<Source> {
    source(move |_, _, requested| match (requested, code) {
        (Requested::Identity, 200) => Response::of_cluster("real", requested),
        (Requested::Identity, code) => Response::refusal(code),
        (Requested::Token, _) => Response::refusal(403),
    })
    .await
}

fn account() -> ObjectKey {
    ObjectKey::new("team", "a")
}

#[rstest]
#[case::forbidden(403, Reason::LinkForbidden)]
#[case::not_found(404, Reason::SourceUnreachable)]
#[case::unauthorized(401, Reason::LinkUnauthorized)]
#[case::server_error(500, Reason::SourceFailed)]
#[tokio::test]
async fn link_is_down_if_the_identity_request_fails(#[case] code: u16, #[case] expected: Reason) {
    let source = with_identity_response(code).await;
    let mut session = source.session().unwrap();
    let admission = source.admit().unwrap();
    let failure = source.cluster_uid(admission, &mut session).await.unwrap_err();
    assert_eq!(failure.reason, expected);
    assert!(!source.is_up());
    let waits = source.breaker().recheck(admission).unwrap_err();
    assert!(waits.waits_for_source());
    assert_eq!(waits.reason, expected);
}

#[tokio::test]
async fn link_is_up_if_one_token_request_is_forbidden() {
    let source = with_identity_response(200).await;
    let mut session = source.session().unwrap();
    let admission = source.admit().unwrap();
    assert_eq!(source.cluster_uid(admission, &mut session).await.unwrap(), "real");
    let request = TokenRequest::default();
    let response = source.request_token(admission, &mut session, &account(), &request).await;
    assert_eq!(response.unwrap_err().reason, Reason::Forbidden);
    assert!(source.is_up());
}

#[rstest]
#[case::responds(200, Reason::TokenRequestTimedOut, true)]
#[case::does_not_respond(503, Reason::SourceUnreachable, false)]
#[case::refuses_its_link(401, Reason::LinkUnauthorized, false)]
#[tokio::test]
async fn timeout_of_a_token_request_concerns_the_source_only_if_it_does_not_respond(
    #[case] code: u16,
    #[case] expected: Reason,
    #[case] is_up: bool,
) {
    let source = with_identity_response(code).await;
    let admission = source.admit().unwrap();
    let failure = source.examine_timeout(admission, &account()).await;
    assert_eq!(failure.reason, expected);
    assert_eq!(source.is_up(), is_up);
    // Another request that was sent before and times out, too.
    let failure = source.examine_timeout(admission, &account()).await;
    assert_eq!((failure.reason, failure.waits_for_source()), (expected, !is_up));
}

#[tokio::test]
async fn breaker_closes_if_its_probe_only_times_out_because_of_a_webhook() {
    let source = with_identity_response(200).await;
    let admission = source.admit().unwrap();
    let unreachable = Failure::new(Reason::SourceUnreachable, "no response");
    source.open_breaker(admission, &unreachable);
    assert!(!source.is_up());
    source.clock.advance(SignedDuration::from_secs(60));
    let admission = source.admit().unwrap();
    let failure = source.examine_timeout(admission, &account()).await;
    assert_eq!(failure.reason, Reason::TokenRequestTimedOut);
    assert!(source.is_up());
}
