//! Reconciles one object once.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use kube::runtime::controller::Action;

use super::finalizer::{Blocked, Finalizer, Step, step};
use super::request::Request;

/// The arguments of [`Controller::run`](super::Controller::run).
pub(super) struct Reconciler<F, P, C> {
    pub(super) reconcile: F,
    pub(super) error_policy: P,
    pub(super) context: Arc<C>,
    pub(super) finalizer: Option<Finalizer>,
}

#[derive(Debug)]
pub(super) enum Outcome<E> {
    Reconciled(Action),
    Failed(E, Action),
    /// The finalizer was handled instead of the object. Check again after an event, or after this delay.
    Finalizing(Option<Duration>),
    Blocked(Blocked),
}

impl<F, P, C> Reconciler<F, P, C> {
    pub(super) async fn reconcile<K, Fut, E>(self: Arc<Self>, request: Request<K>) -> Outcome<E>
    where
        K: Resource,
        F: Fn(Request<K>, Arc<C>) -> Fut,
        Fut: Future<Output = Result<Action, E>>,
        P: Fn(&Request<K>, &E, Arc<C>) -> Action,
    {
        if let Some(finalizer) = &self.finalizer {
            let Request { member, key, object, .. } = &request;
            let meta = object.meta();
            let result = match step(meta, &finalizer.name) {
                Step::Reconcile => None,
                Step::Add => Some(finalizer.add(member, key, meta).await),
                Step::CleanUp => Some(finalizer.clean_up(member, key, object.as_ref()).await),
                Step::Ignore => Some(Ok(None)),
            };
            match result {
                None => {}
                Some(Ok(next)) => return Outcome::Finalizing(next),
                Some(Err(blocked)) => return Outcome::Blocked(blocked),
            }
        }
        match (self.reconcile)(request.clone(), self.context.clone()).await {
            Ok(action) => Outcome::Reconciled(action),
            Err(error) => {
                let action = (self.error_policy)(&request, &error, self.context.clone());
                Outcome::Failed(error, action)
            }
        }
    }
}
