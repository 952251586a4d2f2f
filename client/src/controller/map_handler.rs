//! Handles the events of a [`Controller::watches`](super::Controller::watches) kind in one cluster.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use kube::Resource;
use kube::runtime::watcher::Event;
use tokio::sync::watch;

use super::error::catch_panic;
use super::key::{Key, Keys};
use super::queue::Queue;
use super::target::Target;
use super::watch::{EventHandler, Panicked};
use crate::clusters::Member;

/// Enqueues the keys that the mapper returns for an object, and those that it returned before the object changed.
pub(super) struct MapHandler<O, F> {
    target: watch::Receiver<Target>,
    mapper: Arc<F>,
    queue: Arc<Queue<Key>>,
    keys: Keys,
    /// Only objects with keys.
    mapped: HashMap<Key, Mapped>,
    list: u32,
    objects: PhantomData<fn(O)>,
}

struct Mapped {
    keys: Box<[Key]>,
    /// The number of the latest list when the object was last observed.
    list: u32,
}

impl<O, F> MapHandler<O, F> {
    pub(super) fn new(target: watch::Receiver<Target>, mapper: Arc<F>, queue: Arc<Queue<Key>>) -> Self {
        let keys = Keys::new(target.borrow().member.name().clone());
        Self { target, mapper, queue, keys, mapped: HashMap::new(), list: 0, objects: PhantomData }
    }

    fn push(&self, keys: &[Key]) {
        keys.iter().for_each(|key| self.queue.push(key.clone()));
    }

    fn map<I>(&mut self, object: O, exists: bool) -> Result<(), Panicked>
    where
        O: Resource,
        F: Fn(&Member, O) -> I,
        I: IntoIterator<Item = Key>,
    {
        let key = self.keys.key(&object);
        let member = self.target.borrow().member.clone();
        let map = || (self.mapper)(&member, object).into_iter().collect::<Box<[Key]>>();
        let (keys, panicked) = match catch_panic(map) {
            Ok(keys) => (keys, Ok(())),
            Err(message) => (Box::default(), Err(Panicked { key: key.clone(), message })),
        };
        self.push(&keys);
        let previous = if exists && !keys.is_empty() {
            self.mapped.insert(key, Mapped { keys, list: self.list })
        } else {
            self.mapped.remove(&key)
        };
        // The queue ignores duplicates.
        if let Some(previous) = previous {
            self.push(&previous.keys);
        }
        panicked
    }
}

impl<O, F, I> EventHandler<O> for MapHandler<O, F>
where
    O: Resource,
    F: Fn(&Member, O) -> I + Send + Sync,
    I: IntoIterator<Item = Key>,
{
    fn handle(&mut self, event: Event<O>) -> Result<(), Panicked> {
        match event {
            Event::Init => self.list = self.list.wrapping_add(1),
            Event::Apply(object) | Event::InitApply(object) => return self.map(object, true),
            Event::Delete(object) => return self.map(object, false),
            Event::InitDone => {
                let list = self.list;
                for (_, gone) in self.mapped.extract_if(|_, mapped| mapped.list != list) {
                    gone.keys.into_iter().for_each(|key| self.queue.push(key));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use tokio::time::timeout;

    use super::super::fake_server::FakeServer;
    use super::super::queue::Completion;
    use super::*;
    use crate::clusters::Clusters;

    /// A ConfigMap whose annotation names the key that it is mapped to.
    fn object(name: &str, mapped: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object.annotations_mut().insert("mapped".into(), mapped.into());
        object
    }

    async fn due(queue: &Queue<Key>) -> Vec<String> {
        let mut due = Vec::new();
        while let Ok((key, _)) = timeout(std::time::Duration::from_secs(1), queue.next()).await {
            queue.complete(&key, Completion::Succeeded(None));
            due.push(key.name.to_string());
        }
        due
    }

    #[tokio::test(start_paused = true)]
    async fn previous_keys_are_enqueued_when_an_object_changes_or_is_gone() {
        let queue = Arc::new(Queue::new(0));
        queue.open(&"c1".into(), false);
        let member = Clusters::fixed([("c1", FakeServer::with(&[]).client())]).get("c1").unwrap();
        let mapper =
            |_: &Member, object: ConfigMap| Some(Key::new("c1", None, &object.annotations()["mapped"]));
        let target = watch::Sender::new(Target::new(member, None)).subscribe();
        let mut handler = MapHandler::new(target, Arc::new(mapper), queue.clone());
        let mut send = |events: Vec<Event<ConfigMap>>| {
            events.into_iter().for_each(|event| handler.handle(event).unwrap())
        };

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
