//! Of whom a set is made.

use std::sync::Arc;

use tokio::sync::watch;

use super::Clusters;
use super::imports::Imports;
use super::member::Joining;
use super::polled::Polled;
use super::set::Set;
use crate::config::{ConfigError, Contexts, Mounts};
use crate::live::Access;

/// Of whom a [`Clusters`] is made. A name belongs to who has it first.
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

    /// The cluster that the program itself runs in, which is a member like others, by this name.
    pub fn local(mut self, name: impl Into<Arc<str>>, access: impl Into<Access>) -> Self {
        self.fixed.push((name.into(), access.into(), true));
        self
    }

    /// All imports that are mounted in this pod, by their names.
    pub fn mounted(self) -> Self {
        self.mounted_at(Mounts::default())
    }

    /// All imports that are mounted in this folder, by their names.
    pub fn mounted_at(mut self, mounts: Mounts) -> Self {
        self.polled.push(Polled::Mounted(mounts));
        self
    }

    /// Imports that an API server has: they join when they have a credential, and leave when they are deleted.
    pub fn imports(mut self, imports: Imports) -> Self {
        self.imports.push(imports);
        self
    }

    /// These contexts of a kubeconfig, by their names.
    pub fn contexts<N: Into<String>>(mut self, of: Contexts, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.polled.push(Polled::Contexts(of, Some(names)));
        self
    }

    /// All contexts of a kubeconfig that can be used, by their names.
    pub fn all_contexts(mut self, of: Contexts) -> Self {
        self.polled.push(Polled::Contexts(of, None));
        self
    }

    /// Starts to look who is there. Members, contexts and mounts are in the set at once; imports that are
    /// watched join when they were read ([`Clusters::listed`]).
    ///
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// When a name is given twice, a context can't be used, or there is no kubeconfig.
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
