use super::*;
use kube::runtime::watcher::Event;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::{self, FIELD_MANAGER};
use serde_json::json;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn import(version: u64, generation: i64, cluster: &str) -> ObservedImport {
    let import = json!({
        "metadata": { "namespace": "default", "name": "a", "uid": "u", "generation": generation },
        "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
    });
    let import: ServiceAccountImport = serde_json::from_value(import).unwrap();
    ObservedImport { summary: StatusSummary::default(), import: Import::of(import), version, check: None }
}

fn with_status(import: ObservedImport, generation: i64) -> ObservedImport {
    let status = mcsa_client::ServiceAccountImportStatus {
        observed_generation: Some(generation),
        ..Default::default()
    };
    ObservedImport { summary: StatusSummary::of(Some(&status)), ..import }
}

fn secret(uid: &str, version: u64, others: &[&str]) -> SecretState {
    let entry = |manager: &str| json!({ "manager": manager, "fieldsV1": { "f:data": { "f:token": {} } } });
    let entries: Vec<_> = [FIELD_MANAGER].iter().chain(others).map(|manager| entry(manager)).collect();
    let metadata = json!({
        "uid": uid, "resourceVersion": version.to_string(), "managedFields": entries,
        "ownerReferences": [{ "apiVersion": "v1", "kind": "K", "name": "a", "uid": "u", "controller": true }],
        "annotations": {
            contract::EXPIRATION_TIME: "2026-01-01T01:00:00Z",
            contract::REFRESH_TIME: "2026-01-01T00:50:00Z",
            contract::SERVICE_ACCOUNT_UID: "sa",
            contract::FINGERPRINT: "f",
        },
    });
    SecretState::read(&serde_json::from_value(metadata).unwrap())
}

fn apply(cache: &Cache, import: ObservedImport) -> Vec<ObjectKey> {
    cache.observe_import(&Scope::All, Event::Apply((key("a"), Ok(import))))
}

fn record_written_status(cache: &Cache, written: &ObservedImport) {
    cache.record_written_status(&written.import, written.summary, written.version);
}

#[test]
fn spec_change_during_a_status_write_is_not_lost() {
    // The response has the new spec before the watch does: the watch event must still count.
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    record_written_status(&cache, &with_status(import(3, 1, "c2"), 1));
    assert_eq!(apply(&cache, import(2, 2, "c3")), [], "the next event reports it");
    assert_eq!(apply(&cache, with_status(import(3, 2, "c3"), 1)), [key("a")]);
    // The watch reports it before the late response to a write about the old spec.
    let cache = Cache::default();
    apply(&cache, with_status(import(3, 2, "c3"), 1));
    record_written_status(&cache, &import(2, 1, "c2"));
    let known = cache.import(&key("a")).unwrap();
    assert_eq!(known.import.spec.cluster_name, "c3");
    assert!(!known.summary.is_same_as(&StatusSummary::default()));
}

#[test]
fn only_status_writes_of_others_enqueue_the_import() {
    let cache = Cache::default();
    assert_eq!(apply(&cache, import(1, 1, "c2")), [key("a")]);
    record_written_status(&cache, &with_status(import(2, 1, "c2"), 1));
    assert_eq!(apply(&cache, with_status(import(2, 1, "c2"), 1)), []);
    assert_eq!(apply(&cache, import(3, 1, "c2")), [key("a")], "another client emptied it");
    // The watch reports the importer's write before the response arrives.
    let written = with_status(import(4, 1, "c2"), 7);
    cache.record_pending_status(&written.import, &written.summary);
    assert_eq!(apply(&cache, written), []);
}

#[test]
fn edit_observed_before_the_write_response_is_kept() {
    let cache = Cache::default();
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 8, &["kubectl-edit"]))));
    cache.record_written_secret(key("a-token"), secret("s", 7, &[]));
    let known = cache.secret(&key("a-token")).unwrap();
    assert_eq!(&*known.resource_version, "8");
    assert!(known.was_edited());
}

#[test]
fn deletion_observed_before_the_write_response_is_kept() {
    let cache = Cache::default();
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    cache.observe_secret(&Scope::All, Event::Delete((key("a-token"), secret("s", 8, &[]))));
    cache.record_written_secret(key("a-token"), secret("s", 7, &[]));
    assert_eq!(cache.secret(&key("a-token")), None);
    // A late deletion event does not remove a recreated Secret.
    cache.record_written_secret(key("a-token"), secret("t", 9, &[]));
    cache.observe_secret(&Scope::All, Event::Delete((key("a-token"), secret("s", 8, &[]))));
    assert!(cache.secret(&key("a-token")).is_some());
}

#[test]
fn secret_that_lost_its_label_is_back_with_the_write_response() {
    let cache = Cache::default();
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    // The watch, which selects by label, reports a deletion.
    cache.observe_secret(&Scope::All, Event::Delete((key("a-token"), secret("s", 8, &[]))));
    cache.record_restored_secret(key("a-token"), secret("s", 8, &[]));
    assert_eq!(cache.secret(&key("a-token")), None);
    cache.record_restored_secret(key("a-token"), secret("s", 9, &[]));
    assert!(cache.secret(&key("a-token")).is_some());
    assert_eq!(cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 9, &[])))), []);
}

#[test]
fn edit_of_a_value_outlasts_a_restored_label() {
    let cache = Cache::default();
    cache.record_written_secret(key("a-token"), secret("s", 7, &[]));
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 8, &["kubectl-edit"]))));
    cache.record_restored_secret(key("a-token"), secret("s", 9, &["kubectl-edit"]));
    assert!(cache.secret(&key("a-token")).unwrap().was_edited());
}

#[test]
fn unlisted_imports_are_removed() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    cache.observe_import(&Scope::All, Event::Init);
    assert!(cache.import(&key("a")).is_some(), "a relist in progress removes nothing");
    assert_eq!(cache.observe_import(&Scope::All, Event::InitDone), [key("a")]);
    assert!(cache.import(&key("a")).is_none());
}

#[test]
fn unreadable_import_is_kept_apart() {
    let cache = Cache::default();
    let unreadable = |problem: &str| {
        let metadata = kube::api::ObjectMeta {
            namespace: Some("default".into()),
            name: Some("a".into()),
            ..Default::default()
        };
        Event::Apply((key("a"), Err(Box::new(UnreadableImport::new(metadata, "c2", problem, None)))))
    };
    let observe = |event| cache.observe_import(&Scope::All, event);
    apply(&cache, import(1, 1, "c2"));
    assert_eq!(observe(unreadable("spec.name is missing")), [key("a")]);
    assert!(cache.import(&key("a")).is_none(), "it must not be reconciled");
    assert_eq!(cache.unreadable(&key("a")).unwrap().problem, "spec.name is missing");
    assert_eq!(apply(&cache, import(2, 2, "c2")), [key("a")]);
    assert_eq!(cache.unreadable(&key("a")), None);
    observe(unreadable("spec.name is missing"));
    observe(Event::Init);
    assert_eq!(observe(Event::InitDone), [key("a")]);
    assert_eq!(cache.unreadable(&key("a")), None);
}

/// Lists Secrets of these names.
fn list_secrets(cache: &Cache, names: &[&str]) -> Vec<ObjectKey> {
    let listed = names.iter().map(|name| Event::InitApply((key(name), secret(name, 7, &[]))));
    let events = std::iter::once(Event::Init).chain(listed).chain([Event::InitDone]);
    events.flat_map(|event| cache.observe_secret(&Scope::All, event)).collect()
}

#[test]
fn imports_are_listed_after_their_secrets() {
    let cache = Cache::default();
    assert!(!cache.needs_import_list(&Scope::All), "each would seem to need a token");
    list_secrets(&cache, &["a-token"]);
    assert!(cache.needs_import_list(&Scope::All) && !cache.is_synced());
    cache.observe_import(&Scope::All, Event::Init);
    assert!(!cache.needs_import_list(&Scope::All));
    cache.observe_import(&Scope::All, Event::InitDone);
    cache.observe_link(Event::InitDone);
    // The links' namespace is no scope here.
    cache.record_forbidden(&Scope::Namespace("system".into()), false);
    assert!(!cache.is_synced(), "an import may not be permitted");
    cache.observe_policy(Event::InitDone);
    assert!(cache.is_synced());
}

#[test]
fn unlisted_secret_is_removed_after_the_next_import_list() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    list_secrets(&cache, &["a-token"]);
    cache.observe_import(&Scope::All, Event::Init);
    cache.observe_import(&Scope::All, Event::InitApply((key("a"), Ok(import(1, 1, "c2")))));
    cache.observe_import(&Scope::All, Event::InitDone);

    // Its import may be deleted, too: a list that began earlier does not show that.
    cache.observe_import(&Scope::All, Event::Init);
    assert_eq!(list_secrets(&cache, &[]), []);
    assert!(!cache.needs_import_list(&Scope::All), "the current list ends first");
    assert!(cache.secret(&key("a-token")).is_some(), "removing it now would mint a token");
    cache.observe_import(&Scope::All, Event::InitApply((key("a"), Ok(import(1, 1, "c2")))));
    assert_eq!(cache.observe_import(&Scope::All, Event::InitDone), []);
    assert!(cache.needs_import_list(&Scope::All) && cache.secret(&key("a-token")).is_some());
    cache.observe_import(&Scope::All, Event::Init);
    cache.observe_import(&Scope::All, Event::InitApply((key("a"), Ok(import(1, 1, "c2")))));
    assert_eq!(cache.observe_import(&Scope::All, Event::InitDone), [key("a")], "its Secret is lost");
    assert_eq!(cache.secret(&key("a-token")), None);
}

#[test]
fn secret_observed_again_is_kept() {
    let cache = Cache::default();
    list_secrets(&cache, &["a-token", "b-token"]);
    list_secrets(&cache, &[]);
    cache.observe_import(&Scope::All, Event::Init);
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 9, &[]))));
    // Nothing is removed while Secrets are being listed.
    cache.observe_secret(&Scope::All, Event::Init);
    assert_eq!(cache.observe_import(&Scope::All, Event::InitDone), []);
    cache.observe_secret(&Scope::All, Event::InitApply((key("a-token"), secret("s", 9, &[]))));
    cache.observe_secret(&Scope::All, Event::InitDone);
    assert!(cache.needs_import_list(&Scope::All));
    cache.observe_import(&Scope::All, Event::Init);
    assert_eq!(
        cache.observe_import(&Scope::All, Event::InitDone),
        [key("a"), key("b")],
        "owner and namesake"
    );
    assert!(cache.secret(&key("a-token")).is_some() && cache.secret(&key("b-token")).is_none());
}

#[test]
fn secret_deleted_during_an_interruption_is_removed_after_the_relist() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    list_secrets(&cache, &["a-token", "b-token"]);
    cache.observe_import(&Scope::All, Event::Init);
    cache.observe_import(&Scope::All, Event::InitDone);
    let delete =
        |name: &str| cache.observe_secret(&Scope::All, Event::Delete((key(name), secret(name, 9, &[]))));
    cache.record_interruption(&Scope::All);
    assert_eq!(delete("a-token"), []);
    assert!(cache.needs_import_list(&Scope::All) && cache.secret(&key("a-token")).is_some());
    // A late write response does not restore it.
    cache.record_written_secret(key("a-token"), secret("a-token", 8, &[]));
    cache.observe_import(&Scope::All, Event::Init);
    assert_eq!(cache.observe_import(&Scope::All, Event::InitDone), [key("a")]);
    assert_eq!(cache.secret(&key("a-token")), None);
    // The interruption is over: deletions apply at once.
    assert_eq!(delete("b-token"), [key("a"), key("b")]);
}

#[test]
fn relist_affects_only_its_namespace() {
    let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.into()));
    let cache = Cache::new([a.clone(), b.clone()]);
    let own = |scope: &Scope, name: &str| ObjectKey::new(scope.namespace().unwrap(), name);
    let imports = |scope: &Scope, event| cache.observe_import(scope, event);
    let secrets = |scope: &Scope, event| cache.observe_secret(scope, event);
    cache.observe_link(Event::InitDone);
    cache.observe_policy(Event::InitDone);
    for scope in [&a, &b] {
        assert!(!cache.is_synced());
        secrets(scope, Event::Init);
        secrets(scope, Event::InitApply((own(scope, "a-token"), secret("s", 7, &[]))));
        secrets(scope, Event::InitDone);
        imports(scope, Event::Init);
        let mut observed = import(1, 1, "c2");
        observed.import.key = own(scope, "a");
        imports(scope, Event::InitApply((own(scope, "a"), Ok(observed))));
        imports(scope, Event::InitDone);
    }
    assert!(cache.is_synced());

    // Two concurrent relists end independently.
    imports(&a, Event::Init);
    imports(&b, Event::Init);
    assert_eq!(imports(&a, Event::InitDone), [own(&a, "a")]);
    assert!(cache.import(&own(&a, "a")).is_none() && cache.import(&own(&b, "a")).is_some());
    assert_eq!(imports(&b, Event::InitDone), [own(&b, "a")]);
    secrets(&b, Event::Init);
    secrets(&b, Event::InitDone);
    assert!(cache.needs_import_list(&b) && !cache.needs_import_list(&a));
    imports(&a, Event::Init);
    assert_eq!(imports(&a, Event::InitDone), []);
    assert!(cache.secret(&own(&b, "a-token")).is_some(), "only imports of the same namespace count");
    imports(&b, Event::Init);
    assert_eq!(imports(&b, Event::InitDone), [own(&b, "a")]);
    assert!(cache.secret(&own(&a, "a-token")).is_some() && cache.secret(&own(&b, "a-token")).is_none());
}

#[test]
fn forbidden_namespace_does_not_block_startup() {
    let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.into()));
    let cache = Cache::new([a.clone(), b.clone()]);
    let served = |expected: [bool; 2]| {
        let namespaces: Vec<_> = cache.namespaces().into_iter().collect();
        assert_eq!(namespaces, [("a".to_owned(), expected[0]), ("b".to_owned(), expected[1])]);
    };
    cache.observe_link(Event::InitDone);
    cache.observe_policy(Event::InitDone);
    cache.observe_secret(&a, Event::InitDone);
    cache.observe_import(&a, Event::InitDone);
    served([true, false]);
    assert!(!cache.is_synced(), "it may be listed in a moment");
    assert!(
        cache.record_forbidden(&b, true) && !cache.record_forbidden(&b, true),
        "only the first is a change"
    );
    assert!(cache.is_synced());
    cache.observe_secret(&b, Event::InitDone);
    assert!(cache.record_forbidden(&b, false) && !cache.record_forbidden(&a, false));
    assert!(cache.needs_import_list(&b));
    cache.observe_import(&b, Event::Init);
    cache.observe_import(&b, Event::InitDone);
    served([true, true]);
    cache.record_forbidden(&a, true);
    served([false, true]);
}

#[test]
fn secret_event_enqueues_both_owners_and_the_namesake() {
    let cache = Cache::default();
    let named = |version, name: &str| {
        let mut secret = secret("s", version, &[]);
        secret.owner = Some(mcsa_credentials::secret::Owner { name: name.into(), uid: "u".into() });
        secret
    };
    assert_eq!(
        cache.observe_secret(&Scope::All, Event::Apply((key("c-token"), named(7, "a")))),
        [key("a"), key("c")]
    );
    assert_eq!(
        cache.observe_secret(&Scope::All, Event::Apply((key("c-token"), named(7, "a")))),
        [],
        "unchanged"
    );
    let listed = cache.observe_secret(&Scope::All, Event::Apply((key("c-token"), named(8, "b"))));
    assert_eq!(listed, [key("a"), key("b"), key("c")]);
    assert_eq!(
        cache.observe_secret(&Scope::All, Event::Delete((key("c-token"), named(9, "b")))),
        [key("b"), key("c")]
    );
}

#[test]
fn equal_sets_of_names_are_stored_once() {
    let cache = Cache::default();
    for name in ["a-token", "b-token"] {
        cache.observe_secret(&Scope::All, Event::Apply((key(name), secret(name, 7, &[]))));
    }
    let names = |name| cache.secret(&key(name)).unwrap().names;
    assert!(Arc::ptr_eq(&names("a-token"), &names("b-token")));
}

#[test]
fn recreated_account_enqueues_its_imports() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    let account = ObjectKey::new("default", "pod-lister");
    let observe = |listed| cache.observe_account("c2", &account, &listed);
    assert_eq!(observe(Account::Exists("sa".into())), [key("a")], "the import may have waited for it");
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    assert_eq!(observe(Account::Exists("sa".into())), []);
    assert_eq!(cache.observe_account("c3", &account, &Account::Deleted("sa".into())), []);
    assert_eq!(observe(Account::Deleted("earlier".into())), []);
    assert_eq!(observe(Account::Deleted("sa".into())), [key("a")]);
    assert_eq!(observe(Account::Exists("other".into())), [key("a")]);
    assert_eq!(cache.import(&key("a")).unwrap().account, Some(Account::Exists("other".into())));
    cache.clear_account(&key("a"), Some(&Account::Deleted("sa".into())));
    assert!(cache.import(&key("a")).unwrap().account.is_some(), "a newer report arrived");
    cache.clear_account(&key("a"), Some(&Account::Exists("other".into())));
    assert_eq!(cache.import(&key("a")).unwrap().account, None);
    // An account that is not listed was deleted during an interruption.
    let listed = |uid: Option<&str>| [(account.clone(), uid.map(Arc::from))].into();
    assert_eq!(cache.observe_account_list("c2", &HashMap::new()), [], "not in the list's scope");
    assert_eq!(cache.observe_account_list("c2", &listed(None)), [key("a")]);
    assert_eq!(cache.observe_account_list("c2", &listed(Some("sa"))), []);
}

#[test]
fn all_tokens_are_due_after_the_clock_was_set_back() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    let now = "2026-01-01T00:30:00Z".parse().unwrap();
    assert_eq!(cache.mark_all_due(now), [key("a")]);
    // The same version again changes nothing.
    assert_eq!(cache.observe_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[])))), []);
    let provenance = cache.secret(&key("a-token")).unwrap().provenance.unwrap();
    assert_eq!(provenance.refresh_at, Some(now));
}
