use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn place(lane: &str) -> Place {
    Place { lane: lane.to_owned(), is_link: false }
}

fn link(lane: &str) -> Place {
    Place { is_link: true, ..place(lane) }
}

/// Schedules an import that is due by the clock.
fn schedule(state: &mut State, name: &str, place: Place, second: i64) {
    let deadline = state.deadline(time(second));
    state.schedule(key(name), place, Due { deadline, is_ready: false });
}

/// Enqueues an import that changed.
fn enqueue(state: &mut State, name: &str, place: Place, second: i64) {
    state.enqueue(key(name), place, time(second));
}

fn take(state: &mut State, now: i64) -> Option<String> {
    match state.pop(time(now)) {
        Head::Ready(key) => Some(key.name().to_owned()),
        _ => None,
    }
}

/// Runs the next import to its end.
fn run(state: &mut State, now: i64, next: Option<i64>) -> Option<String> {
    let name = take(state, now)?;
    state.done(&key(&name), next.map(time));
    Some(name)
}

#[test]
fn imports_are_taken_in_order_of_due_time() {
    let mut state = State::default();
    schedule(&mut state, "late", place("c2"), 20);
    schedule(&mut state, "early", place("c3"), 10);
    assert_eq!(take(&mut state, 9), None);
    assert_eq!(take(&mut state, 30).as_deref(), Some("early"));
    assert_eq!(take(&mut state, 30).as_deref(), Some("late"));
}

#[test]
fn earliest_due_time_wins() {
    let mut state = State::default();
    for second in [20, 10, 30] {
        schedule(&mut state, "a", place("c2"), second);
    }
    assert_eq!(take(&mut state, 10).as_deref(), Some("a"));
    assert_eq!(take(&mut state, 99), None);
}

#[test]
fn overdue_imports_are_taken_before_later_changes() {
    let mut state = State::default();
    enqueue(&mut state, "first", place("c2"), 4);
    enqueue(&mut state, "second", place("c2"), 4);
    schedule(&mut state, "due-later", place("c2"), 5);
    schedule(&mut state, "overdue", place("c2"), 3);
    schedule(&mut state, "changes", place("c2"), 1);
    enqueue(&mut state, "changes", place("c2"), 8);
    let order: Vec<_> = std::iter::from_fn(|| run(&mut state, 9, None)).collect();
    assert_eq!(order, ["changes", "overdue", "first", "second", "due-later"]);
}

#[test]
fn twenty_thousand_new_imports_delay_neither_the_link_nor_an_overdue_refresh() {
    let mut state = State::default();
    for i in 0..20_000 {
        enqueue(&mut state, &format!("new-{i}"), place("c2"), 100);
    }
    schedule(&mut state, "overdue", place("c2"), 99);
    schedule(&mut state, "link", link("c2"), 101);
    let others: Vec<_> = (0..4).filter_map(|_| run(&mut state, 100, None)).collect();
    assert_eq!(others, ["overdue", "new-0", "new-1", "new-2"], "the link is not due yet");
    assert_eq!(run(&mut state, 101, None).as_deref(), Some("link"));
}

#[test]
fn endless_retries_and_overdue_refreshes_do_not_delay_a_new_import() {
    let mut state = State::default();
    for i in 0..50 {
        schedule(&mut state, &format!("overdue-{i}"), place("c2"), 1);
    }
    enqueue(&mut state, "new", place("c2"), 10);
    // Each overdue import fails, and is due again at once.
    let before = std::iter::from_fn(|| run(&mut state, 10, Some(10))).take_while(|name| name != "new");
    assert_eq!(before.count(), 50);
}

#[test]
fn change_during_a_run_is_queued_until_it_ends() {
    let mut state = State::default();
    schedule(&mut state, "a", place("c2"), 1);
    assert_eq!(take(&mut state, 1).as_deref(), Some("a"));
    enqueue(&mut state, "a", place("c2"), 2);
    assert_eq!(take(&mut state, 9), None);
    state.done(&key("a"), Some(time(100)));
    assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
}

#[test]
fn changed_import_stays_ready_when_the_clock_is_set_back() {
    let mut state = State::default();
    enqueue(&mut state, "a", place("c2"), 1000);
    assert_eq!(take(&mut state, 1).as_deref(), Some("a"));
}

#[test]
fn full_lane_does_not_delay_others() {
    let mut state = State::default();
    for i in 0..LANE_LIMIT + 5 {
        schedule(&mut state, &format!("hangs-{i}"), place("c2"), 1);
    }
    for _ in 0..LANE_LIMIT {
        assert!(take(&mut state, 9).is_some_and(|name| name.starts_with("hangs")));
    }
    assert_eq!(take(&mut state, 9), None);
    schedule(&mut state, "other", place("c3"), 2);
    assert_eq!(take(&mut state, 9).as_deref(), Some("other"));
    assert_eq!(take(&mut state, 9), None);
    state.done(&key("hangs-0"), None);
    assert!(take(&mut state, 9).is_some_and(|name| name.starts_with("hangs")));
}

#[test]
fn lanes_share_all_runs_equally() {
    let mut state = State::default();
    let lanes = TOTAL_LIMIT / 4;
    for i in 0..LANE_LIMIT {
        for lane in 0..lanes {
            // Lanes with smaller numbers have earlier deadlines.
            schedule(
                &mut state,
                &format!("{lane}-{i}"),
                place(&lane.to_string()),
                i64::try_from(lane).unwrap(),
            );
        }
    }
    let running = std::iter::from_fn(|| take(&mut state, 99)).count();
    assert_eq!(running, TOTAL_LIMIT);
    assert!(state.lanes.values().all(|lane| lane.running.len() == 4));
    // Runs that hang can't keep another source from its first run.
    for i in 0..2 {
        schedule(&mut state, &format!("other-{i}"), place("other"), 99);
    }
    assert_eq!(take(&mut state, 99).as_deref(), Some("other-0"));
    assert_eq!(take(&mut state, 99), None);
}

#[test]
fn forgotten_import_is_removed_from_all_lanes() {
    let mut state = State::default();
    schedule(&mut state, "waits", place("c2"), 9);
    state.forget(&key("waits"));
    enqueue(&mut state, "ready", link("c2"), 9);
    state.forget(&key("ready"));
    assert!(state.lanes.is_empty() && state.entries.is_empty());
    schedule(&mut state, "runs", place("c2"), 1);
    assert_eq!(take(&mut state, 1).as_deref(), Some("runs"));
    schedule(&mut state, "runs", place("c2"), 2);
    state.forget(&key("runs"));
    state.done(&key("runs"), None);
    assert!(state.lanes.is_empty() && state.entries.is_empty());
}

#[test]
fn waiting_and_running_imports_can_change_lanes() {
    let mut state = State::default();
    schedule(&mut state, "a", place("c2"), 5);
    schedule(&mut state, "a", link("c3"), 6);
    assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
    schedule(&mut state, "a", place("c4"), 7);
    state.done(&key("a"), None);
    assert_eq!(take(&mut state, 9).as_deref(), Some("a"));
    state.done(&key("a"), None);
    assert!(state.lanes.is_empty() && state.entries.is_empty());
}
