//! Whether a source can be reached from here, for those who ask by an annotation on its link's import
//! (`kubemcsa check`). From where they are, they could only guess.
//!
//! It is no part of a reconciliation: no import waits for what people want to know, the link's own
//! included. Only the answer is written by one, like all that a status says.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use mcsa_client::api::REACHABLE;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cache::{Cache, Question};
use crate::clock::seconds;
use crate::model::check_result::CheckResult;
use crate::model::failure::{Failure, Reason};
use crate::model::key::ObjectKey;
use crate::source::{Answered, Source};
use crate::watch::context::Watched;

/// Clocks that differ by no more are as good as the same: tokens are not accepted before their time, and
/// clients have leeways of about that.
const SKEW: SignedDuration = SignedDuration::from_secs(30);

/// Reason of `Reachable=True`.
const ANSWERED: &str = "Answered";

/// Reason of `Reachable=True` where the source has another time.
const SKEWED: &str = "ClockSkewed";

fn conclude(question: &Question, answered: Result<Answered, Failure>, now: Timestamp) -> CheckResult {
    let cluster = &question.import.spec.cluster_name;
    let (status, reason, message) = match answered {
        Ok(answered) => match answered.ahead.filter(|ahead| ahead.abs() > SKEW) {
            None => ("True", ANSWERED, format!("{cluster} answers, and is the cluster that the link is for")),
            Some(ahead) => ("True", SKEWED, skewed(cluster, ahead)),
        },
        Err(failure) => ("False", failure.reason.as_str(), failure.message),
    };
    let before = question.before.as_ref().map(|answer| &answer.condition);
    let same = before.filter(|before| before.status == status);
    CheckResult {
        request: question.request.to_string(),
        condition: Condition {
            type_: REACHABLE.into(),
            status: status.into(),
            reason: reason.into(),
            message,
            observed_generation: question.import.generation,
            last_transition_time: same
                .map_or_else(|| Time(seconds(now)), |before| before.last_transition_time.clone()),
        },
    }
}

fn skewed(cluster: &str, ahead: SignedDuration) -> String {
    let which = if ahead.is_positive() { "ahead of" } else { "behind" };
    format!(
        "{cluster} answers, but its clock is {} s {which} the importer's; set the one right that is wrong",
        ahead.abs().as_secs()
    )
}

/// Answers all who ask, while this replica leads.
pub async fn answer_all(watched: Arc<Watched>) {
    // Before all is known, a link that is there would seem to be missing.
    drop(watched.is_synced.subscribe().wait_for(|is_synced| *is_synced).await);
    let mut running = JoinSet::new();
    loop {
        watched.fence.opened().await;
        let (questions, later) = watched.cache.questions(Instant::now());
        for question in questions {
            running.spawn(find_out(question, watched.clone()));
        }
        let later = async {
            match later {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = watched.asked.notified() => {}
            () = later => {}
            Some(_) = running.join_next() => {}
        }
    }
}

async fn find_out(question: Question, watched: Arc<Watched>) {
    let Watched { cache, queue, fence, clock, .. } = &*watched;
    let (key, cluster) = (&question.import.key, &question.import.spec.cluster_name);
    let asking = Asking { cache, key, answer: None };
    let link = || {
        let link = cache.link(cluster).ok_or_else(|| Failure::not_linked(cluster))?;
        link.source.map_err(|problem| Failure::new(Reason::InvalidLink, problem))
    };
    let source = link();
    let answered = match &source {
        Ok(source) => ask(source, &question).await,
        Err(failure) => Err(failure.clone()),
    };
    // What was found out of another way in, or is another replica's to say, is no answer.
    let is_same = match (&source, &link()) {
        (Ok(asked), Ok(now)) => Arc::ptr_eq(asked, now),
        (asked, now) => asked.is_ok() == now.is_ok(),
    };
    let answer = (is_same && fence.is_open()).then(|| conclude(&question, answered, clock.now()));
    if let Some(CheckResult { condition, .. }) = &answer {
        let reason = &condition.reason;
        tracing::info!(cluster, import = key.name(), reason, "asked, and answered: {}", condition.message);
    }
    asking.end(answer);
    queue.hurry(key.clone(), cluster);
    if let Ok(source) = source {
        for key in source.woken() {
            queue.hurry(key, cluster);
        }
    }
}

/// A question until it has ended. However it ends, the next one can be asked.
struct Asking<'a> {
    cache: &'a Cache,
    key: &'a ObjectKey,
    answer: Option<CheckResult>,
}

impl Asking<'_> {
    fn end(mut self, answer: Option<CheckResult>) {
        self.answer = answer;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.cache.found_out(self.key, self.answer.take());
    }
}

async fn ask(source: &Source, question: &Question) -> Result<Answered, Failure> {
    let answered = source.probe().await?;
    let pinned = question.import.pinned_uid.as_deref().or(source.pinned_uid());
    match pinned {
        Some(pinned) if *pinned != *answered.cluster_uid => {
            let server = &source.endpoint().server;
            Err(Failure::other_cluster(source.name(), server, &answered.cluster_uid, pinned))
        }
        _ => Ok(answered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::SeenImport;
    use crate::model::import::Import;
    use crate::model::scope::Scope;
    use kube::runtime::watcher::Event;
    use mcsa_client::contract::{CHECK_REQUESTED, LINK_LABEL, SYSTEM_NAMESPACE};
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use rstest::rstest;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn question(before: Option<&CheckResult>) -> Question {
        let spec = ServiceAccountImportSpec { cluster_name: "c2".into(), ..Default::default() };
        Question {
            import: Arc::new(Import::of(ServiceAccountImport::new("c2", spec))),
            request: "2026-01-01T00:00:00Z".into(),
            before: before.cloned().map(Arc::new),
        }
    }

    fn answered(ahead: Option<i64>) -> Result<Answered, Failure> {
        Ok(Answered { cluster_uid: "u".into(), ahead: ahead.map(SignedDuration::from_secs) })
    }

    #[rstest]
    #[case::well(answered(Some(0)), "True", "Answered", "c2 answers")]
    #[case::that_tells_no_time(answered(None), "True", "Answered", "c2 answers")]
    #[case::a_little_off(answered(Some(-30)), "True", "Answered", "c2 answers")]
    #[case::ahead(answered(Some(95)), "True", "ClockSkewed", "95 s ahead of the importer's")]
    #[case::behind(answered(Some(-31)), "True", "ClockSkewed", "31 s behind the importer's")]
    #[case::away(
        Err(Failure::new(Reason::SourceUnreachable, "nobody answers")),
        "False",
        "SourceUnreachable",
        "nobody answers"
    )]
    fn answers(
        #[case] answered: Result<Answered, Failure>,
        #[case] status: &str,
        #[case] reason: &str,
        #[case] said: &str,
    ) {
        let CheckResult { request, condition } = conclude(&question(None), answered, at(7));
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (status, reason));
        assert!(condition.message.contains(said), "{}", condition.message);
        assert_eq!(request, "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_transition_is_a_change_of_the_status() {
        let since = |answer: &CheckResult| answer.condition.last_transition_time.0;
        let first = conclude(&question(None), answered(None), at(1));
        let second = conclude(&question(Some(&first)), answered(Some(99)), at(2));
        let failure = Failure::new(Reason::Forbidden, "no");
        let third = conclude(&question(Some(&second)), Err(failure), at(3));
        assert_eq!([&first, &second, &third].map(since), [at(1), at(1), at(3)]);
    }

    #[tokio::test]
    async fn a_question_that_ends_in_a_panic_is_asked_again() {
        let link = json!({
            "metadata": { "namespace": SYSTEM_NAMESPACE, "name": "c2", "uid": "u", "resourceVersion": "1",
                          "labels": { LINK_LABEL: "true" },
                          "annotations": { CHECK_REQUESTED: "2026-01-01T00:00:00Z" } },
            "spec": { "clusterName": "c2", "namespace": SYSTEM_NAMESPACE, "name": "c1" },
        });
        let (cache, seen) = (Cache::default(), SeenImport::of(serde_json::from_value(link).unwrap()));
        let key = seen.import.key.clone();
        cache.see_import(&Scope::All, Event::Apply((key.clone(), Some(seen))));
        assert_eq!(cache.questions(Instant::now()).0.len(), 1);
        assert!(!cache.is_asked(), "it is being asked");
        let ended = std::panic::catch_unwind(|| {
            let _asking = Asking { cache: &cache, key: &key, answer: None };
            panic!("as a bug would have it");
        });
        assert!(ended.is_err() && cache.is_asked());
    }
}
