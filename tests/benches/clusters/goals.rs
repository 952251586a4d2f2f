//! The goals, and whether the figures meet them.

use crate::compare::{
    KUBE, MANY, Metric, ONE, Series, memory_per_pod, ratio_of, time_per_event, time_per_single_event,
};
use crate::detection::Detection;
use crate::rounds::Rounds;
use crate::table::Goal;

/// Two figures count as equal up to this ratio.
const MAX_RATIO: f64 = 1.1;

pub fn of(rounds: &Rounds, detections: &[Detection]) -> Vec<Goal> {
    let goal = |what: String, series: (Series, Series), metric: Metric| {
        let ratio = ratio_of(rounds, series, metric);
        Goal {
            what: format!("{what}: at most {MAX_RATIO:.2}"),
            figure: format!("{ratio:.2}"),
            is_met: ratio <= MAX_RATIO,
        }
    };
    let (kube, many) = ((ONE, KUBE), (MANY, ONE));
    let many_clusters = format!("over {} clusters", rounds.many_clusters);
    vec![
        goal("processor time per event of one cluster, divided by kube's".into(), kube, time_per_event),
        goal(
            "processor time per event at 1,000 events per second, divided by kube's".into(),
            kube,
            time_per_single_event,
        ),
        goal("memory per pod of one cluster, divided by kube's".into(), kube, memory_per_pod),
        goal(
            format!("processor time per event {many_clusters}, divided by one cluster's"),
            many,
            time_per_event,
        ),
        goal(format!("memory per pod {many_clusters}, divided by one cluster's"), many, memory_per_pod),
        in_time(detections),
    ]
}

fn in_time(detections: &[Detection]) -> Goal {
    let late: Vec<_> =
        detections.iter().filter(|detection| !detection.is_in_time()).map(|late| late.what).collect();
    let figure = if late.is_empty() { "all".to_owned() } else { format!("late: {}", late.join("; ")) };
    Goal { what: "changes of clusters are detected in time".into(), figure, is_met: late.is_empty() }
}
