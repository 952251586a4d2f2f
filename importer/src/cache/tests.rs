use super::*;
use kube::runtime::watcher::Event;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{self, FIELD_MANAGER};
use serde_json::json;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn import(version: u64, generation: i64, cluster: &str) -> SeenImport {
    let import = json!({
        "metadata": { "namespace": "default", "name": "a", "uid": "u", "generation": generation },
        "spec": { "clusterName": cluster, "namespace": "default", "name": "pod-lister" },
    });
    let import: ServiceAccountImport = serde_json::from_value(import).unwrap();
    SeenImport { shown: Shown::default(), import: Import::of(import), version, check: None }
}

fn with_status(seen: SeenImport, observed: i64) -> SeenImport {
    let status =
        mcsa_client::ServiceAccountImportStatus { observed_generation: Some(observed), ..Default::default() };
    SeenImport { shown: Shown::of(Some(&status)), ..seen }
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

fn apply(cache: &Cache, import: SeenImport) -> Vec<ObjectKey> {
    cache.see_import(&Scope::All, Event::Apply((key("a"), Some(import))))
}

fn wrote_status(cache: &Cache, written: &SeenImport) {
    cache.wrote_status(&written.import, written.shown, written.version);
}

#[test]
fn a_spec_that_changes_while_the_status_is_written_is_not_lost() {
    // The answer knows the new spec before the watch does: the watch still has to tell.
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    wrote_status(&cache, &with_status(import(3, 1, "c2"), 1));
    assert_eq!(apply(&cache, import(2, 2, "c3")), [], "of this, the next event will tell");
    assert_eq!(apply(&cache, with_status(import(3, 2, "c3"), 1)), [key("a")]);
    // The watch knew it before the late answer to a write about the old one.
    let cache = Cache::default();
    apply(&cache, with_status(import(3, 2, "c3"), 1));
    wrote_status(&cache, &import(2, 1, "c2"));
    let known = cache.import(&key("a")).unwrap();
    assert_eq!(known.import.spec.cluster_name, "c3");
    assert!(!known.shown.says_the_same_as(&Shown::default()));
}

#[test]
fn our_own_status_is_no_news_and_that_of_others_is() {
    let cache = Cache::default();
    assert_eq!(apply(&cache, import(1, 1, "c2")), [key("a")]);
    wrote_status(&cache, &with_status(import(2, 1, "c2"), 1));
    assert_eq!(apply(&cache, with_status(import(2, 1, "c2"), 1)), []);
    assert_eq!(apply(&cache, import(3, 1, "c2")), [key("a")], "someone emptied it");
    // Told before our own write is answered.
    let written = with_status(import(4, 1, "c2"), 7);
    cache.writes_status(&written.import, &written.shown);
    assert_eq!(apply(&cache, written), []);
}

#[test]
fn an_edit_that_the_watch_told_before_the_answer_to_our_write_is_seen() {
    let cache = Cache::default();
    cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 8, &["kubectl-edit"]))));
    cache.wrote_secret(key("a-token"), secret("s", 7, &[]));
    let known = cache.secret(&key("a-token")).unwrap();
    assert_eq!(&*known.resource_version, "8");
    assert!(known.was_touched());
}

#[test]
fn a_secret_that_was_deleted_before_the_answer_to_our_write_is_gone() {
    let cache = Cache::default();
    cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    cache.see_secret(&Scope::All, Event::Delete((key("a-token"), secret("s", 8, &[]))));
    cache.wrote_secret(key("a-token"), secret("s", 7, &[]));
    assert_eq!(cache.secret(&key("a-token")), None);
    // Another one of that name is another one, and an older deletion does not concern it.
    cache.wrote_secret(key("a-token"), secret("t", 9, &[]));
    cache.see_secret(&Scope::All, Event::Delete((key("a-token"), secret("s", 8, &[]))));
    assert!(cache.secret(&key("a-token")).is_some());
}

#[test]
fn what_is_not_listed_again_is_gone_and_so_is_what_can_t_be_read() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    cache.see_import(&Scope::All, Event::Init);
    assert!(cache.import(&key("a")).is_some(), "during a relist, all is still there");
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), [key("a")]);
    assert!(cache.import(&key("a")).is_none());
    apply(&cache, import(1, 1, "c2"));
    cache.see_import(&Scope::All, Event::Apply((key("a"), None)));
    assert!(cache.import(&key("a")).is_none());
}

/// Lists the Secrets of all namespaces: of these names.
fn list_secrets(cache: &Cache, names: &[&str]) -> Vec<ObjectKey> {
    let listed = names.iter().map(|name| Event::InitApply((key(name), secret(name, 7, &[]))));
    let events = std::iter::once(Event::Init).chain(listed).chain([Event::InitDone]);
    events.flat_map(|event| cache.see_secret(&Scope::All, event)).collect()
}

#[test]
fn imports_are_listed_after_their_secrets() {
    let cache = Cache::default();
    assert!(!cache.wants_imports(&Scope::All), "each would seem to need a token");
    list_secrets(&cache, &["a-token"]);
    assert!(cache.wants_imports(&Scope::All) && !cache.is_synced());
    cache.see_import(&Scope::All, Event::Init);
    assert!(!cache.wants_imports(&Scope::All));
    cache.see_import(&Scope::All, Event::InitDone);
    cache.see_link(Event::InitDone);
    // That of the links is no scope of its own.
    cache.note_forbidden(&Scope::Namespace("system".into()), false);
    assert!(cache.is_synced());
}

#[test]
fn a_secret_that_is_not_listed_again_is_missed_once_the_imports_are() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    list_secrets(&cache, &["a-token"]);
    cache.see_import(&Scope::All, Event::Init);
    cache.see_import(&Scope::All, Event::InitApply((key("a"), Some(import(1, 1, "c2")))));
    cache.see_import(&Scope::All, Event::InitDone);

    // Its import may have gone before it: a list that began earlier does not tell.
    cache.see_import(&Scope::All, Event::Init);
    assert_eq!(list_secrets(&cache, &[]), []);
    assert!(!cache.wants_imports(&Scope::All), "first, that list is to end");
    assert!(cache.secret(&key("a-token")).is_some(), "whoever looks meanwhile would have a token minted");
    cache.see_import(&Scope::All, Event::InitApply((key("a"), Some(import(1, 1, "c2")))));
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), []);
    assert!(cache.wants_imports(&Scope::All) && cache.secret(&key("a-token")).is_some());
    cache.see_import(&Scope::All, Event::Init);
    cache.see_import(&Scope::All, Event::InitApply((key("a"), Some(import(1, 1, "c2")))));
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), [key("a")], "its Secret is lost");
    assert_eq!(cache.secret(&key("a-token")), None);
}

#[test]
fn a_secret_that_is_lost_comes_back_or_is_lost_again() {
    let cache = Cache::default();
    list_secrets(&cache, &["a-token", "b-token"]);
    list_secrets(&cache, &[]);
    cache.see_import(&Scope::All, Event::Init);
    cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 9, &[]))));
    // While Secrets are listed once more, nothing is missed.
    cache.see_secret(&Scope::All, Event::Init);
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), []);
    cache.see_secret(&Scope::All, Event::InitApply((key("a-token"), secret("s", 9, &[]))));
    cache.see_secret(&Scope::All, Event::InitDone);
    assert!(cache.wants_imports(&Scope::All));
    cache.see_import(&Scope::All, Event::Init);
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), [key("a"), key("b")], "owner and namesake");
    assert!(cache.secret(&key("a-token")).is_some() && cache.secret(&key("b-token")).is_none());
}

#[test]
fn a_secret_that_is_deleted_while_imports_are_out_of_sight_is_missed_later() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    list_secrets(&cache, &["a-token", "b-token"]);
    cache.see_import(&Scope::All, Event::Init);
    cache.see_import(&Scope::All, Event::InitDone);
    let delete = |name: &str| cache.see_secret(&Scope::All, Event::Delete((key(name), secret(name, 9, &[]))));
    cache.note_interrupted(&Scope::All);
    assert_eq!(delete("a-token"), []);
    assert!(cache.wants_imports(&Scope::All) && cache.secret(&key("a-token")).is_some());
    // The answer to a write that was on its way does not bring it back.
    cache.wrote_secret(key("a-token"), secret("a-token", 8, &[]));
    cache.see_import(&Scope::All, Event::Init);
    assert_eq!(cache.see_import(&Scope::All, Event::InitDone), [key("a")]);
    assert_eq!(cache.secret(&key("a-token")), None);
    // In sight again, they are told of as they go.
    assert_eq!(delete("b-token"), [key("a"), key("b")]);
}

#[test]
fn a_relist_of_one_namespace_concerns_no_other() {
    let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.into()));
    let cache = Cache::new([a.clone(), b.clone()]);
    let own = |scope: &Scope, name: &str| ObjectKey::new(scope.namespace().unwrap(), name);
    let imports = |scope: &Scope, event| cache.see_import(scope, event);
    let secrets = |scope: &Scope, event| cache.see_secret(scope, event);
    cache.see_link(Event::InitDone);
    for scope in [&a, &b] {
        assert!(!cache.is_synced());
        secrets(scope, Event::Init);
        secrets(scope, Event::InitApply((own(scope, "a-token"), secret("s", 7, &[]))));
        secrets(scope, Event::InitDone);
        imports(scope, Event::Init);
        let mut seen = import(1, 1, "c2");
        seen.import.key = own(scope, "a");
        imports(scope, Event::InitApply((own(scope, "a"), Some(seen))));
        imports(scope, Event::InitDone);
    }
    assert!(cache.is_synced());

    // Both at once: each ends for itself.
    imports(&a, Event::Init);
    imports(&b, Event::Init);
    assert_eq!(imports(&a, Event::InitDone), [own(&a, "a")]);
    assert!(cache.import(&own(&a, "a")).is_none() && cache.import(&own(&b, "a")).is_some());
    assert_eq!(imports(&b, Event::InitDone), [own(&b, "a")]);
    secrets(&b, Event::Init);
    secrets(&b, Event::InitDone);
    assert!(cache.wants_imports(&b) && !cache.wants_imports(&a));
    imports(&a, Event::Init);
    assert_eq!(imports(&a, Event::InitDone), []);
    assert!(cache.secret(&own(&b, "a-token")).is_some(), "the imports of its own namespace decide");
    imports(&b, Event::Init);
    assert_eq!(imports(&b, Event::InitDone), [own(&b, "a")]);
    assert!(cache.secret(&own(&a, "a-token")).is_some() && cache.secret(&own(&b, "a-token")).is_none());
}

#[test]
fn a_namespace_that_can_t_be_listed_is_not_waited_for() {
    let [a, b] = ["a", "b"].map(|name| Scope::Namespace(name.into()));
    let cache = Cache::new([a.clone(), b.clone()]);
    let served = |expected: [bool; 2]| {
        let namespaces: Vec<_> = cache.namespaces().into_iter().collect();
        assert_eq!(namespaces, [("a".to_owned(), expected[0]), ("b".to_owned(), expected[1])]);
    };
    cache.see_link(Event::InitDone);
    cache.see_secret(&a, Event::InitDone);
    cache.see_import(&a, Event::InitDone);
    served([true, false]);
    assert!(!cache.is_synced(), "it may be there in a moment");
    assert!(cache.note_forbidden(&b, true) && !cache.note_forbidden(&b, true), "it is said once");
    assert!(cache.is_synced());
    cache.see_secret(&b, Event::InitDone);
    assert!(cache.note_forbidden(&b, false) && !cache.note_forbidden(&a, false));
    assert!(cache.wants_imports(&b));
    cache.see_import(&b, Event::Init);
    cache.see_import(&b, Event::InitDone);
    served([true, true]);
    cache.note_forbidden(&a, true);
    served([false, true]);
}

#[test]
fn a_secret_s_owner_is_told_before_and_after_and_so_is_its_namesake() {
    let cache = Cache::default();
    let named = |version, name: &str| {
        let mut secret = secret("s", version, &[]);
        secret.owner = Some(mcsa_client::system::secret::Owner { name: name.into(), uid: "u".into() });
        secret
    };
    assert_eq!(
        cache.see_secret(&Scope::All, Event::Apply((key("c-token"), named(7, "a")))),
        [key("a"), key("c")]
    );
    assert_eq!(
        cache.see_secret(&Scope::All, Event::Apply((key("c-token"), named(7, "a")))),
        [],
        "nothing new"
    );
    let told = cache.see_secret(&Scope::All, Event::Apply((key("c-token"), named(8, "b"))));
    assert_eq!(told, [key("a"), key("b"), key("c")]);
    assert_eq!(
        cache.see_secret(&Scope::All, Event::Delete((key("c-token"), named(9, "b")))),
        [key("b"), key("c")]
    );
}

#[test]
fn secrets_that_hold_the_same_share_their_names() {
    let cache = Cache::default();
    for name in ["a-token", "b-token"] {
        cache.see_secret(&Scope::All, Event::Apply((key(name), secret(name, 7, &[]))));
    }
    let names = |name| cache.secret(&key(name)).unwrap().names;
    assert!(Arc::ptr_eq(&names("a-token"), &names("b-token")));
}

#[test]
fn an_account_that_is_another_one_by_now_concerns_its_imports() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    let account = ObjectKey::new("default", "pod-lister");
    let see = |told| cache.see_account("c2", &account, &told);
    assert_eq!(see(Account::Is("sa".into())), [key("a")], "it may have been waited for");
    cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    assert_eq!(see(Account::Is("sa".into())), []);
    assert_eq!(cache.see_account("c3", &account, &Account::Gone("sa".into())), []);
    assert_eq!(see(Account::Gone("earlier".into())), []);
    assert_eq!(see(Account::Gone("sa".into())), [key("a")]);
    assert_eq!(see(Account::Is("other".into())), [key("a")]);
    assert_eq!(cache.import(&key("a")).unwrap().account, Some(Account::Is("other".into())));
    cache.settle(&key("a"), Some(&Account::Gone("sa".into())));
    assert!(cache.import(&key("a")).unwrap().account.is_some(), "more was told meanwhile");
    cache.settle(&key("a"), Some(&Account::Is("other".into())));
    assert_eq!(cache.import(&key("a")).unwrap().account, None);
    // One that is not listed any more was deleted while nobody looked.
    let told = |uid: Option<&str>| [(account.clone(), uid.map(Arc::from))].into();
    assert_eq!(cache.see_accounts("c2", &HashMap::new()), [], "it was not asked about this one");
    assert_eq!(cache.see_accounts("c2", &told(None)), [key("a")]);
    assert_eq!(cache.see_accounts("c2", &told(Some("sa"))), []);
}

#[test]
fn when_the_clock_was_set_back_each_token_is_due() {
    let cache = Cache::default();
    apply(&cache, import(1, 1, "c2"));
    cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[]))));
    let now = "2026-01-01T00:30:00Z".parse().unwrap();
    assert_eq!(cache.distrust_times(now), [key("a")]);
    // The same version, told again, changes nothing.
    assert_eq!(cache.see_secret(&Scope::All, Event::Apply((key("a-token"), secret("s", 7, &[])))), []);
    let provenance = cache.secret(&key("a-token")).unwrap().provenance.unwrap();
    assert_eq!(provenance.refresh_at, Some(now));
}
