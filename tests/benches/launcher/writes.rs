//! Counts the launcher's writes for each pod, in the audit logs of both clusters.

use std::collections::BTreeMap;

use anyhow::ensure;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::launch::LAUNCHER;
use mcsa_tests::{AuditEvent, Launched};

use crate::fixture::{self, NAMESPACE, create, delete, pods, shell, wait};
use crate::table::{Goal, Row, Section};

const PREFIX: &str = "counted-";

/// Largest number of writes of a home pod.
const LIMIT: u32 = 4;

/// Writes of each pod.
#[derive(Default)]
struct Counts(BTreeMap<String, u32>);

/// The launcher's writes for pods that run to completion and are deleted.
pub struct Writes {
    pods: u32,
    creations: Counts,
    other_in_source: Counts,
    deletions_in_source: Counts,
    /// Patches of the status, which also record the remote pod.
    at_home: Counts,
    deletions_at_home: Counts,
    events: u32,
}

impl Writes {
    /// Runs this many pods to completion, and deletes them.
    pub async fn measure(launched: &Launched, count: u32) -> anyhow::Result<Self> {
        let (home, source) = (pods(launched.home.client()), pods(launched.source.client()));
        try_join_all((0..count).map(|number| {
            let pod = shell(&format!("{PREFIX}{number}"), "sleep 2");
            let (home, source, pod) = (&home, &source, fixture::launched(pod, launched));
            async move {
                let pod = create(home, pod).await?;
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                wait(home, name, "Succeeded", |pod: Option<&Pod>| phase(pod) == "Succeeded").await?;
                // The API server removes a pod that has ended at once, and garbage collection deletes its remote pod.
                delete(home, &pod).await?;
                wait(source, name, "gone", |pod: Option<&Pod>| pod.is_none()).await
            }
        }))
        .await?;
        let mut writes = Self {
            pods: count,
            creations: Counts::default(),
            other_in_source: Counts::default(),
            deletions_in_source: Counts::default(),
            at_home: Counts::default(),
            deletions_at_home: Counts::default(),
            events: 0,
        };
        // The launcher is the only service account of the namespace in the source.
        let in_source = format!("system:serviceaccount:{NAMESPACE}:");
        for (verb, pod) in of_pods(launched.source.audit_events()?, &in_source) {
            let counts = match verb.as_str() {
                "create" => &mut writes.creations,
                "delete" => &mut writes.deletions_in_source,
                _ => &mut writes.other_in_source,
            };
            counts.add(pod);
        }
        let at_home = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{LAUNCHER}");
        let events = launched.home.audit_events()?;
        writes.events = u32::try_from(events.iter().filter(|event| is_event(event, &at_home)).count())?;
        for (verb, pod) in of_pods(events, &at_home) {
            let counts = if verb == "delete" { &mut writes.deletions_at_home } else { &mut writes.at_home };
            counts.add(pod);
        }
        ensure!(writes.at_home.0.len() == count as usize, "the audit log lacks writes of some pods");
        Ok(writes)
    }

    pub fn section(&self) -> Section {
        let row = |what, counts: &Counts, reference: &str| {
            let most = format!("{reference}; {} for the pod with the most", counts.most());
            Row::new(what, format!("{:.1}", f64::from(counts.sum()) / f64::from(self.pods)), most)
        };
        let events = format!("{:.1}", f64::from(self.events) / f64::from(self.pods));
        Section {
            title: "The launcher's writes for each pod that ran to completion, several pods at a time; mean",
            rows: vec![
                row("source: pods created", &self.creations, "1"),
                row("source: other writes until the pod has ended", &self.other_in_source, "0"),
                row("home: writes until the pod has ended", &self.at_home, "at most 4"),
                Row::new("home: events", events, "0"),
                row("source: deletions, after one at home", &self.deletions_in_source, "1"),
                row("home: deletions, after one by a user", &self.deletions_at_home, "0"),
            ],
        }
    }

    pub fn goals(&self) -> [Goal; 2] {
        let (created, other) = (&self.creations, &self.other_in_source);
        [
            Goal {
                what: "the source has one creation and no other write for each pod".into(),
                figure: format!("{} and {} for {} pods", created.sum(), other.sum(), self.pods),
                is_met: (created.sum(), created.most(), other.sum()) == (self.pods, 1, 0),
            },
            Goal {
                what: format!("home has at most {LIMIT} writes for each pod"),
                figure: self.at_home.most().to_string(),
                is_met: self.at_home.most() <= LIMIT,
            },
        ]
    }
}

impl Counts {
    fn add(&mut self, pod: String) {
        *self.0.entry(pod).or_default() += 1;
    }

    fn sum(&self) -> u32 {
        self.0.values().sum()
    }

    fn most(&self) -> u32 {
        self.0.values().max().copied().unwrap_or_default()
    }
}

fn phase(pod: Option<&Pod>) -> &str {
    pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()).unwrap_or_default()
}

/// Verb and pod of each write of the counted pods. `user` is the start of the writer's name.
fn of_pods(events: Vec<AuditEvent>, user: &str) -> impl Iterator<Item = (String, String)> {
    events.into_iter().filter(move |event| is_write_by(event, user)).filter_map(|event| {
        let object = event.object_ref?;
        let is_counted = object.resource == "pods" && object.name.starts_with(PREFIX);
        is_counted.then_some((event.verb, object.name))
    })
}

/// Whether this is a write of an event of the namespace's pods, of whatever name.
fn is_event(event: &AuditEvent, user: &str) -> bool {
    let object = event.object_ref.as_ref();
    is_write_by(event, user)
        && object.is_some_and(|object| object.resource == "events" && object.name.starts_with(PREFIX))
}

fn is_write_by(event: &AuditEvent, user: &str) -> bool {
    event.user.username.starts_with(user)
        && event.stage == "ResponseComplete"
        && matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
        && event.object_ref.as_ref().is_some_and(|object| object.namespace == NAMESPACE)
}
