//! Templates, as far as they are read. Any field may have any type.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::json::Any;

/// Maximum number of templates that name a cluster or a namespace. Argo's full schemas allow 200 templates. The others have
/// no limit, and a body of megabytes could list a million.
pub(super) const MAX_TEMPLATES: usize = 1_000;

/// A value that should be a string.
pub(super) type Scalar<'a> = Any<'a, IgnoredAny>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Template<'a> {
    #[serde(borrow)]
    pub(super) name: Scalar<'a>,
    #[serde(borrow)]
    pub(super) cluster: Scalar<'a>,
    #[serde(borrow)]
    pub(super) namespace: Scalar<'a>,
    #[serde(borrow)]
    pub(super) metadata: Any<'a, Metadata<'a>>,
    #[serde(borrow)]
    steps: Scalar<'a>,
    #[serde(borrow)]
    dag: Scalar<'a>,
}

/// The metadata of pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) annotations: Any<'a, Annotations<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations<'a> {
    /// [`ELECT`](mcsa_credentials::contract::launch::ELECT).
    #[serde(borrow, rename = "multicluster.admiralty.io/elect")]
    pub(super) elect: Scalar<'a>,
    /// [`CLUSTER_NAME`](mcsa_credentials::contract::launch::CLUSTER_NAME).
    #[serde(borrow, rename = "multicluster.admiralty.io/clustername")]
    pub(super) cluster_name: Scalar<'a>,
    /// [`REMOTE_NAMESPACE`](mcsa_credentials::contract::launch::REMOTE_NAMESPACE).
    #[serde(borrow, rename = "multicluster.admiralty.io/remote-namespace")]
    pub(super) remote_namespace: Scalar<'a>,
}

impl Template<'_> {
    pub(super) fn names_cluster(&self) -> bool {
        text(&self.cluster).is_some() || self.metadata.object().is_some_and(Metadata::names_cluster)
    }

    /// Whether it consists of steps, and so has no pod of its own.
    pub(super) fn has_steps(&self) -> bool {
        !self.steps.is_absent() || !self.dag.is_absent()
    }
}

impl Metadata<'_> {
    pub(super) fn names_cluster(&self) -> bool {
        let annotations = self.annotations.object();
        annotations.is_some_and(|present| !present.cluster_name.is_absent() || !present.elect.is_absent())
    }
}

/// A string, unless it is empty.
pub(super) fn text<'v>(value: &'v Scalar) -> Option<&'v str> {
    match value {
        Any::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The templates that name a cluster or a namespace, each with its index in the list.
#[derive(Debug, Default)]
pub(super) struct Templates<'a> {
    pub(super) named: Vec<(usize, Template<'a>)>,
    /// There are more than [`MAX_TEMPLATES`]. The others were not read.
    pub(super) are_too_many: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Templates<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(TemplatesVisitor)
    }
}

struct TemplatesVisitor;

impl<'de> Visitor<'de> for TemplatesVisitor {
    type Value = Templates<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Templates<'de>, A::Error> {
        let mut templates = Templates::default();
        for index in 0.. {
            let Some(item) = list.next_element::<Any<Template>>()? else { break };
            // Skips items that are not objects; Argo refuses them.
            let Any::Object(template) = item else { continue };
            let has_field = !template.cluster.is_absent() || !template.namespace.is_absent();
            if !has_field && !template.names_cluster() {
                continue;
            }
            if templates.named.len() == MAX_TEMPLATES {
                templates.are_too_many = true;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
            templates.named.push((index, template));
        }
        Ok(templates)
    }
}
