//! Objects that concern what is reconciled, by a mapper.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::sync::mpsc;

use super::error::{Trouble, panic_message};
use super::key::{Key, Keys};
use super::queue::Queue;
use super::watch::Sink;
use crate::clusters::Member;

/// Has reconciled what each object concerns, or did before it changed or went.
pub(super) struct Others<O, F> {
    member: Member,
    kind: Arc<str>,
    mapper: Arc<F>,
    queue: Arc<Queue<Key>>,
    troubles: mpsc::Sender<Trouble>,
    keys: Keys,
    /// Of objects that concern any.
    concerns: HashMap<Key, Concerns>,
    list: u32,
    objects: PhantomData<fn(O)>,
}

struct Concerns {
    keys: Box<[Key]>,
    /// The list in which it was last seen, or after which it came.
    list: u32,
}

impl<O, F> Others<O, F> {
    pub(super) fn new(
        member: Member,
        kind: Arc<str>,
        mapper: Arc<F>,
        queue: Arc<Queue<Key>>,
        troubles: mpsc::Sender<Trouble>,
    ) -> Self {
        let keys = Keys::of(member.name().clone());
        Self {
            member,
            kind,
            mapper,
            queue,
            troubles,
            keys,
            concerns: HashMap::new(),
            list: 0,
            objects: PhantomData,
        }
    }

    fn push(&self, keys: &[Key]) {
        keys.iter().for_each(|key| self.queue.push(key.clone()));
    }

    /// Has reconciled what an object concerns now, and what it did before.
    fn seen<I>(&mut self, object: O, is_there: bool)
    where
        O: Resource,
        F: Fn(&Member, O) -> I,
        I: IntoIterator<Item = Key>,
    {
        let key = self.keys.key(&object);
        let map = || (self.mapper)(&self.member, object).into_iter().collect::<Box<[Key]>>();
        let keys = match catch_unwind(AssertUnwindSafe(map)) {
            Ok(keys) => keys,
            Err(panic) => {
                let (kind, message) = (self.kind.clone(), panic_message(panic.as_ref()));
                let trouble = Trouble::MapperPanicked { kind, key: key.clone(), message };
                drop(self.troubles.try_send(trouble));
                Box::default()
            }
        };
        self.push(&keys);
        let before = if is_there && !keys.is_empty() {
            self.concerns.insert(key, Concerns { keys, list: self.list })
        } else {
            self.concerns.remove(&key)
        };
        // What it concerns now as well is not in the queue twice.
        if let Some(before) = before {
            self.push(&before.keys);
        }
    }
}

impl<O, F, I> Sink<O> for Others<O, F>
where
    O: Resource,
    F: Fn(&Member, O) -> I + Send + Sync,
    I: IntoIterator<Item = Key>,
{
    fn event(&mut self, event: Event<O>) {
        match event {
            Event::Init => self.list = self.list.wrapping_add(1),
            Event::Apply(object) | Event::InitApply(object) => self.seen(object, true),
            Event::Delete(object) => self.seen(object, false),
            Event::InitDone => {
                let list = self.list;
                for (_, vanished) in self.concerns.extract_if(|_, concerns| concerns.list != list) {
                    vanished.keys.into_iter().for_each(|key| self.queue.push(key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use tokio::time::timeout;

    use super::super::fake_server::Fake;
    use super::super::queue::Ended;
    use super::*;
    use crate::clusters::Clusters;

    /// A ConfigMap that concerns the key in its annotation.
    fn object(name: &str, concerns: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object.annotations_mut().insert("concerns".into(), concerns.into());
        object
    }

    async fn due(queue: &Queue<Key>) -> Vec<String> {
        let mut due = Vec::new();
        while let Ok((key, _)) = timeout(std::time::Duration::from_secs(1), queue.next()).await {
            queue.end(&key, Ended::Well(None));
            due.push(key.name.to_string());
        }
        due
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_concerned_hears_of_changes_and_of_what_vanished_out_of_sight() {
        let queue = Arc::new(Queue::new(0));
        queue.open(&"c1".into(), false);
        let member = Clusters::fixed([("c1", Fake::with(&[]).client())]).get("c1").unwrap();
        let mapper =
            |_: &Member, object: ConfigMap| Some(Key::new("c1", None, &object.annotations()["concerns"]));
        let (troubles, _) = mpsc::channel(1);
        let mut others = Others::new(member, "ConfigMap".into(), Arc::new(mapper), queue.clone(), troubles);
        let mut send =
            |events: Vec<Event<ConfigMap>>| events.into_iter().for_each(|event| others.event(event));

        send(vec![
            Event::Init,
            Event::InitApply(object("o", "a")),
            Event::InitApply(object("q", "b")),
            Event::InitDone,
        ]);
        assert_eq!(due(&queue).await, ["a", "b"]);
        send(vec![Event::Apply(object("o", "c"))]);
        assert_eq!(due(&queue).await, ["c", "a"]);
        send(vec![Event::Init, Event::InitApply(object("q", "b")), Event::InitDone]);
        assert_eq!(due(&queue).await, ["b", "c"]);
        send(vec![Event::Delete(object("q", "b")), Event::Init, Event::InitDone]);
        assert_eq!(due(&queue).await, ["b"]);
    }
}
