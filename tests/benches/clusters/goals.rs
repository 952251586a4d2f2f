//! The goals of the figures.

use crate::compare::{
    KUBE, MANY, ONE, Of, Whose, memory_per_pod, time_per_event, time_per_single_event, times,
};
use crate::noticed::Noticed;
use crate::rounds::Rounds;
use crate::table::Goal;

/// Up to this ratio, two figures count as equal.
const SAME: f64 = 1.1;

pub fn of(rounds: &Rounds, noticed: &[Noticed]) -> Vec<Goal> {
    let goal = |what: String, whose: (Whose, Whose), of: Of| {
        let ratio = times(rounds, whose, of);
        Goal {
            what: format!("{what}, at most {SAME:.2}"),
            figure: format!("{ratio:.2}"),
            is_met: ratio <= SAME,
        }
    };
    let (kube, many) = ((ONE, KUBE), (MANY, ONE));
    let spread = format!("over {} clusters", rounds.many_clusters);
    vec![
        goal("processor time per event of one cluster, times kube's".into(), kube, time_per_event),
        goal(
            "processor time per event at a thousand events per second, times kube's".into(),
            kube,
            time_per_single_event,
        ),
        goal("memory per pod of one cluster, times kube's".into(), kube, memory_per_pod),
        goal(format!("processor time per event {spread}, times that of one"), many, time_per_event),
        goal(format!("memory per pod {spread}, times that of one"), many, memory_per_pod),
        in_time(noticed),
    ]
}

fn in_time(noticed: &[Noticed]) -> Goal {
    let late: Vec<_> = noticed.iter().filter(|noticed| !noticed.is_in_time()).map(|late| late.what).collect();
    let figure = if late.is_empty() { "all".to_owned() } else { format!("not: {}", late.join("; ")) };
    Goal { what: "changes of clusters are noticed in time".into(), figure, is_met: late.is_empty() }
}
