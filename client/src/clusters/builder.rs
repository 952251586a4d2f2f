//! Builds a set.

use std::sync::Arc;

use tokio::sync::watch;

use super::Clusters;
use super::imports::Imports;
use super::member::NewMember;
use super::polled::Polled;
use super::set::Set;
use crate::config::{Contexts, Mounts};
use crate::error::ConfigError;
use crate::live::ClusterAccess;

/// Builds a [`Clusters`]. If two sources offer a name, the first wins.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ClustersBuilder {
    fixed: Vec<(Arc<str>, ClusterAccess, bool)>,
    polled: Vec<Polled>,
    imports: Vec<Imports>,
}

impl ClustersBuilder {
    /// A cluster that never leaves, given by a [`LiveConfig`](crate::live::LiveConfig) or a client.
    pub fn member(mut self, name: impl Into<Arc<str>>, access: impl Into<ClusterAccess>) -> Self {
        self.fixed.push((name.into(), access.into(), false));
        self
    }

    /// The cluster that the program runs in. It never leaves, and [`Clusters::local`] returns it.
    pub fn local(mut self, name: impl Into<Arc<str>>, access: impl Into<ClusterAccess>) -> Self {
        self.fixed.push((name.into(), access.into(), true));
        self
    }

    /// All imports that are mounted in this pod. Members have the names of the imports.
    pub fn mounted(self) -> Self {
        self.mounted_in(Mounts::default())
    }

    /// All imports in the folder of `mounts`. Members have the names of the imports.
    pub fn mounted_in(mut self, mounts: Mounts) -> Self {
        self.polled.push(Polled::Mounted(mounts));
        self
    }

    /// Imports in an API server, which are watched. They join when they have a credential, and leave when they are
    /// deleted.
    pub fn imports(mut self, imports: Imports) -> Self {
        self.imports.push(imports);
        self
    }

    /// The contexts of a kubeconfig that have these names. They never leave: after its context was renamed or removed,
    /// a member keeps its last config.
    pub fn contexts<N: Into<String>>(
        mut self,
        contexts: Contexts,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.polled.push(Polled::Contexts(contexts, Some(names)));
        self
    }

    /// All usable contexts of a kubeconfig. They join and leave as the files change; a renamed context is another
    /// member.
    pub fn all_contexts(mut self, contexts: Contexts) -> Self {
        self.polled.push(Polled::Contexts(contexts, None));
        self
    }

    /// Starts the set. Members, contexts and mounts join at once; watched imports join when their Secrets have been
    /// read (see [`Clusters::wait_until_synced`]).
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// If a name is given twice, a named context is unusable, or the kubeconfig can't be read.
    pub fn start(self) -> Result<Clusters, ConfigError> {
        let (set, tasks) = Set::new();
        for (name, access, is_local) in self.fixed {
            let new = NewMember { is_local, ..NewMember::new(name.clone(), access) };
            if set.join(new).is_none() {
                return Err(ConfigError::DuplicateName(name.to_string()));
            }
        }
        for polled in self.polled {
            let state = polled.join_all(&set)?;
            set.spawn(polled.poll(set.clone(), state));
        }
        let (synced, pending) = watch::channel(self.imports.len());
        for imports in self.imports {
            let synced = synced.clone();
            let on_synced = move || synced.send_modify(|pending| *pending -= 1);
            set.spawn(imports.watch(set.clone(), on_synced));
        }
        Ok(Clusters { set, pending, _tasks: tasks })
    }
}
