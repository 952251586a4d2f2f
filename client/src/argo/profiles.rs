//! Finds the most specific profile.

use k8s_openapi::api::core::v1::Secret;

use super::error::{ArgoError, Place, Problem};
use super::{Profile, Reader};

/// Profiles, sorted by the names of their Secrets.
#[derive(Clone, Debug, Default)]
pub struct Profiles(Vec<Profile>);

impl Reader {
    /// Reads the profiles in Secrets, usually those with the label [`CLUSTER_LABEL`](super::CLUSTER_LABEL). Returns
    /// the errors of the others.
    pub fn profiles<'a>(self, secrets: impl IntoIterator<Item = &'a Secret>) -> (Profiles, Vec<ArgoError>) {
        let (mut profiles, mut errors) = (Vec::new(), Vec::new());
        for secret in secrets {
            match self.profile(secret) {
                Ok(profile) => profiles.push(profile),
                Err(error) => errors.push(error),
            }
        }
        (profiles.into_iter().collect(), errors)
    }
}

impl FromIterator<Profile> for Profiles {
    fn from_iter<I: IntoIterator<Item = Profile>>(profiles: I) -> Self {
        let mut profiles: Vec<_> = profiles.into_iter().collect();
        profiles.sort_by(|one, other| one.secret.cmp(&other.secret));
        Self(profiles)
    }
}

impl Profiles {
    /// [`Reader::profiles`] with the default reader.
    pub fn read<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> (Self, Vec<ArgoError>) {
        Reader::default().profiles(secrets)
    }

    /// The most specific profile that workflows in a namespace may use for a namespace of a cluster. A profile for
    /// that workflow namespace precedes others; then a profile for that namespace of the cluster does.
    ///
    /// # Errors
    /// If two profiles are equally specific.
    pub fn find(
        &self,
        workflow_namespace: &str,
        cluster: &str,
        namespace: &str,
    ) -> Result<Option<&Profile>, ArgoError> {
        let matching =
            || self.iter().filter(|profile| profile.is_for(workflow_namespace, cluster, namespace));
        let Some(best) = matching().map(Profile::rank).max() else { return Ok(None) };
        let mut found = matching().filter(|profile| profile.rank() == best);
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

    /// All profiles.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
