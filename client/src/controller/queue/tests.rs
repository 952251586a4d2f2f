use std::time::Duration;

use super::*;

type Name = (&'static str, &'static str);

impl Item for Name {
    type Lane = &'static str;

    fn lane(&self) -> &&'static str {
        &self.0
    }
}

const A: Name = ("c1", "a");
const B: Name = ("c1", "b");
const C: Name = ("c2", "c");

fn queue(limit: usize) -> Queue<Name> {
    let queue = Queue::new(limit);
    queue.open(&"c1", false);
    queue.open(&"c2", false);
    queue
}

fn due(queue: &Queue<Name>) -> Option<Name> {
    match queue.state().pop(Instant::now()) {
        Next::Due(item, _) => Some(item),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_are_served_round_robin_and_an_item_is_queued_once() {
    let queue = queue(0);
    for item in [A, B, A, C] {
        queue.push(item);
    }
    assert_eq!([due(&queue), due(&queue), due(&queue)], [Some(A), Some(C), Some(B)]);
    assert_eq!(due(&queue), None);
}

#[tokio::test(start_paused = true)]
async fn an_item_pushed_while_it_runs_runs_again_once_it_completes() {
    let queue = queue(0);
    queue.push(A);
    assert_eq!(due(&queue), Some(A));
    queue.push(A);
    assert_eq!(due(&queue), None);
    queue.complete(&A, Completion::Succeeded(Some(Duration::from_secs(60))));
    assert_eq!(due(&queue), Some(A));
}

#[tokio::test(start_paused = true)]
async fn each_lane_has_its_own_limit() {
    let queue = queue(1);
    for item in [A, B, C] {
        queue.push(item);
    }
    assert_eq!([due(&queue), due(&queue), due(&queue)], [Some(A), Some(C), None]);
    queue.complete(&C, Completion::Succeeded(None));
    assert_eq!(due(&queue), None);
    queue.complete(&A, Completion::Succeeded(None));
    assert_eq!(due(&queue), Some(B));
}

#[tokio::test(start_paused = true)]
async fn a_paused_lane_keeps_its_items() {
    let queue = queue(0);
    queue.open(&"c1", true);
    queue.push(A);
    queue.push(C);
    assert_eq!([due(&queue), due(&queue)], [Some(C), None]);
    queue.open(&"c1", false);
    assert_eq!(due(&queue), Some(A));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_item_is_due_after_its_delay_or_a_push() {
    let queue = queue(0);
    queue.push(A);
    let start = Instant::now();
    assert_eq!(queue.next().await, (A, 0));
    queue.complete(&A, Completion::Failed(Some(Duration::from_secs(10))));
    assert_eq!(queue.next().await, (A, 1));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    queue.complete(&A, Completion::Failed(Some(Duration::from_secs(10))));
    queue.push(A);
    assert_eq!(queue.next().await, (A, 2));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert!(queue.state().timers.is_empty());
    queue.complete(&A, Completion::Succeeded(Some(Duration::MAX)));
    assert_eq!(due(&queue), None);
    queue.push(A);
    assert_eq!(queue.next().await, (A, 0));
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_until_the_item_is_forgotten() {
    let queue = queue(0);
    let failures = |item| {
        queue.push(item);
        let Next::Due(_, failures) = queue.state().pop(Instant::now()) else { panic!("nothing is due") };
        queue.complete(&item, Completion::Failed(None));
        failures
    };
    assert_eq!([failures(A), failures(A)], [0, 1]);
    queue.forget(&A);
    assert_eq!(failures(A), 0);
}

#[tokio::test(start_paused = true)]
async fn an_item_forgotten_while_it_runs_leaves_nothing_behind() {
    let queue = queue(0);
    queue.push(A);
    assert_eq!(due(&queue), Some(A));
    queue.forget(&A);
    queue.complete(&A, Completion::Failed(Some(Duration::from_secs(1))));
    assert!(queue.state().timers.is_empty());
    assert_eq!(queue.depths().len(), 2);
    queue.push(A);
    assert_eq!(queue.next().await, (A, 0));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_item_is_due_again() {
    let queue = queue(0);
    queue.push(A);
    assert_eq!(due(&queue), Some(A));
    queue.complete(&A, Completion::Aborted);
    assert_eq!(due(&queue), Some(A));
}

#[tokio::test(start_paused = true)]
async fn a_reopened_lane_runs_no_item_twice() {
    let queue = queue(0);
    for item in [A, B] {
        queue.push(item);
    }
    assert_eq!(due(&queue), Some(A));
    queue.close(&"c1");
    assert_eq!(due(&queue), None);
    queue.push(A);
    queue.open(&"c1", false);
    assert_eq!(due(&queue), None);
    queue.push(A);
    assert_eq!(due(&queue), None);
    queue.complete(&A, Completion::Aborted);
    assert_eq!(due(&queue), Some(A));
    queue.close(&"c1");
    queue.complete(&A, Completion::Succeeded(Some(Duration::from_secs(1))));
    assert_eq!(queue.depths().into_iter().map(|(lane, _)| lane).collect::<Vec<_>>(), ["c2"]);
    assert!(queue.state().timers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_temporary_lane_is_removed_once_it_has_no_items() {
    let queue: Queue<Name> = Queue::new(0);
    let lanes = || queue.depths().len();
    queue.push_to_temporary_lane(A);
    queue.push_to_temporary_lane(B);
    assert_eq!([due(&queue), due(&queue)], [Some(A), Some(B)]);
    queue.complete(&A, Completion::Succeeded(None));
    assert_eq!(lanes(), 1);
    queue.complete(&B, Completion::Failed(Some(Duration::from_secs(1))));
    assert_eq!(lanes(), 1);
    assert_eq!(queue.next().await, (B, 1));
    queue.complete(&B, Completion::Succeeded(None));
    assert_eq!(lanes(), 0);

    queue.push_to_temporary_lane(C);
    queue.forget(&C);
    assert_eq!(lanes(), 0);
    queue.push_to_temporary_lane(C);
    assert_eq!(due(&queue), Some(C));
}
