//! All profiles, of which the most specific one is found.

use k8s_openapi::api::core::v1::Secret;

use super::error::{ArgoError, Place, Problem};
use super::{Profile, Reader};

/// Profiles, in the order of their Secrets' names.
#[derive(Clone, Debug, Default)]
pub struct Profiles(Vec<Profile>);

impl Reader {
    /// The profiles in Secrets, such as those with the label [`CLUSTER_LABEL`](super::CLUSTER_LABEL), and what is
    /// wrong with the others.
    pub fn profiles<'a>(self, secrets: impl IntoIterator<Item = &'a Secret>) -> (Profiles, Vec<ArgoError>) {
        let (mut profiles, mut errors) = (Vec::new(), Vec::new());
        for secret in secrets {
            match self.profile(secret) {
                Ok(profile) => profiles.push(profile),
                Err(error) => errors.push(error),
            }
        }
        profiles.sort_by(|one, other| one.secret.cmp(&other.secret));
        (Profiles(profiles), errors)
    }
}

impl Profiles {
    /// [`Reader::profiles`] of the default reader.
    pub fn read<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> (Self, Vec<ArgoError>) {
        Reader::default().profiles(secrets)
    }

    /// The most specific profile for a namespace of a cluster, and workflows in another namespace. One
    /// that names the workflows' namespace goes before one that does not, and only then one that names
    /// the cluster's namespace.
    ///
    /// # Errors
    /// When the two most specific ones are for the same.
    pub fn find(
        &self,
        workflow_namespace: &str,
        cluster: &str,
        namespace: &str,
    ) -> Result<Option<&Profile>, ArgoError> {
        let fit = || self.iter().filter(|profile| profile.is_for(workflow_namespace, cluster, namespace));
        let Some(best) = fit().map(Profile::rank).max() else { return Ok(None) };
        let mut found = fit().filter(|profile| profile.rank() == best);
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => Err(Place::secret(&one.secret).error(Problem::Ambiguous {
                other: other.secret.clone(),
                workflow_namespace: workflow_namespace.to_owned(),
                cluster: cluster.to_owned(),
                namespace: namespace.to_owned(),
            })),
            (found, _) => Ok(found),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
