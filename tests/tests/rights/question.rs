//! Asks the API server whether a service account has a right.

use std::fmt::{self, Display};

use anyhow::{Context, ensure};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::contract::SYSTEM_NAMESPACE;

/// Whether a service account may do something.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// A service account of the system namespace.
    pub account: &'a str,
    pub verb: &'a str,
    pub what: What<'a>,
}

/// What the verb applies to.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Resource {
        group: &'a str,
        /// With the subresource, after a slash.
        resource: &'a str,
        /// `None`: cluster-wide.
        namespace: Option<&'a str>,
        name: Option<&'a str>,
    },
    /// A non-resource URL.
    Path(&'a str),
}

impl Question<'_> {
    /// Whether the question is about this namespace.
    pub fn is_in(&self, other: &str) -> bool {
        matches!(self.what, What::Resource { namespace: Some(namespace), .. } if namespace == other)
    }

    /// Asks the API server, as an administrator.
    pub async fn ask(&self, client: &Client) -> anyhow::Result<bool> {
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{}", self.account);
        let own = format!("system:serviceaccounts:{SYSTEM_NAMESPACE}");
        let groups = ["system:authenticated".into(), "system:serviceaccounts".into(), own];
        let mut spec =
            SubjectAccessReviewSpec { user: Some(user), groups: Some(groups.into()), ..Default::default() };
        let verb = Some(self.verb.to_owned());
        match self.what {
            What::Path(path) => {
                let path = Some(path.to_owned());
                spec.non_resource_attributes = Some(NonResourceAttributes { path, verb });
            }
            What::Resource { group, resource, namespace, name } => {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                spec.resource_attributes = Some(ResourceAttributes {
                    verb,
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource: Some(subresource.to_owned()),
                    namespace: namespace.map(str::to_owned),
                    name: name.map(str::to_owned),
                    ..ResourceAttributes::default()
                });
            }
        }
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews = Api::<SubjectAccessReview>::all(client.clone());
        let review =
            reviews.create(&PostParams::default(), &review).await.with_context(|| self.to_string())?;
        let status = review.status.with_context(|| format!("the review has no status: {self}"))?;
        ensure!(status.evaluation_error.is_none(), "{self}: {:?}", status.evaluation_error);
        Ok(status.allowed)
    }
}

/// `importer: get secrets in kube-system`. Omits the core group.
impl Display for Question<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} ", self.account, self.verb)?;
        match self.what {
            What::Path(path) => write!(formatter, "{path}"),
            What::Resource { group, resource, namespace, name } => {
                write!(formatter, "{resource}")?;
                if !group.is_empty() {
                    write!(formatter, " of {group}")?;
                }
                match namespace {
                    Some(namespace) => write!(formatter, " in {namespace}")?,
                    None => write!(formatter, " cluster-wide")?,
                }
                name.iter().try_for_each(|name| write!(formatter, " named {name}"))
            }
        }
    }
}
