//! What is watched of a kind besides the reconciled one.

use std::fmt;
use std::sync::Arc;

use kube::runtime::watcher;

use crate::clusters::Member;

pub(super) type MemberFilter = Arc<dyn Fn(&Member) -> bool + Send + Sync>;

/// Selects the objects and the members that [`Controller::owns`](super::Controller::owns) and
/// [`Controller::watches`](super::Controller::watches) watch. A [`watcher::Config`] is one for all members.
///
/// This watches Secrets in all clusters but the one that the program runs in:
///
/// ```
/// # use k8s_openapi::api::core::v1::{ConfigMap, Secret};
/// # use kube::runtime::watcher;
/// # use mcsa_client::controller::{Controller, WatchConfig};
/// # fn example(controller: Controller<ConfigMap>) -> Controller<ConfigMap> {
/// let config = WatchConfig::from(watcher::Config::default()).members(|member| !member.is_local());
/// controller.owns::<Secret>(config)
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct WatchConfig {
    pub(super) config: watcher::Config,
    pub(super) members: MemberFilter,
}

impl WatchConfig {
    /// Watches only in members for which `filter` returns true. No rights are needed in others.
    ///
    /// `filter` is called when a member joins, and when an object with a finalizer is deleted. For a member, it must
    /// always return the same.
    pub fn members(mut self, filter: impl Fn(&Member) -> bool + Send + Sync + 'static) -> Self {
        self.members = Arc::new(filter);
        self
    }
}

impl From<watcher::Config> for WatchConfig {
    fn from(config: watcher::Config) -> Self {
        Self { config, members: Arc::new(|_| true) }
    }
}

impl fmt::Debug for WatchConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WatchConfig").field("config", &self.config).finish_non_exhaustive()
    }
}
