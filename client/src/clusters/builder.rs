//! What a set is built from.

use std::sync::Arc;

use tokio::sync::watch;

use super::Clusters;
use super::imports::Imports;
use super::member::Joining;
use super::polled::Polled;
use super::set::Set;
use crate::config::{Contexts, Mounts};
use crate::error::ConfigError;
use crate::live::Access;

/// Builds a [`Clusters`]. If two sources offer a name, the first wins.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ClustersBuilder {
    fixed: Vec<(Arc<str>, Access, bool)>,
    polled: Vec<Polled>,
    imports: Vec<Imports>,
}

impl ClustersBuilder {
    /// A cluster that never leaves: a [`LiveConfig`](crate::live::LiveConfig) or a client.
    pub fn member(mut self, name: impl Into<Arc<str>>, access: impl Into<Access>) -> Self {
        self.fixed.push((name.into(), access.into(), false));
        self
    }

    /// The cluster that the program itself runs in. Otherwise it is a member like the others.
    pub fn local(mut self, name: impl Into<Arc<str>>, access: impl Into<Access>) -> Self {
        self.fixed.push((name.into(), access.into(), true));
        self
    }

    /// All imports that are mounted in this pod, by name.
    pub fn mounted(self) -> Self {
        self.mounted_at(Mounts::default())
    }

    /// All imports that are mounted in this folder, by name.
    pub fn mounted_at(mut self, mounts: Mounts) -> Self {
        self.polled.push(Polled::Mounted(mounts));
        self
    }

    /// Imports that are watched in an API server. They join when they have a credential, and leave when they are deleted.
    pub fn imports(mut self, imports: Imports) -> Self {
        self.imports.push(imports);
        self
    }

    /// These contexts of a kubeconfig, by name.
    pub fn contexts<N: Into<String>>(mut self, of: Contexts, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.polled.push(Polled::Contexts(of, Some(names)));
        self
    }

    /// All usable contexts of a kubeconfig, by name.
    pub fn all_contexts(mut self, of: Contexts) -> Self {
        self.polled.push(Polled::Contexts(of, None));
        self
    }

    /// Starts the set. Members, contexts and mounts join at once; watched imports join when their Secrets have been read
    /// (see [`Clusters::listed`]).
    ///
    /// Call it within a tokio runtime.
    ///
    /// # Errors
    /// If a name is given twice, a named context is unusable, or the kubeconfig can't be read.
    pub fn start(self) -> Result<Clusters, ConfigError> {
        let (set, tasks) = Set::new();
        for (name, access, is_local) in self.fixed {
            if set.join(Joining { name: name.clone(), access, is_local, uid: None }).is_none() {
                return Err(ConfigError::SameName(name.to_string()));
            }
        }
        for polled in self.polled {
            let known = polled.begin(&set)?;
            set.spawn(polled.go_on(set.clone(), known));
        }
        let (listed, pending) = watch::channel(self.imports.len());
        for imports in self.imports {
            let listed = listed.clone();
            let is_listed = move || listed.send_modify(|pending| *pending -= 1);
            set.spawn(imports.feed(set.clone(), is_listed));
        }
        Ok(Clusters { set, pending, _tasks: tasks })
    }
}
