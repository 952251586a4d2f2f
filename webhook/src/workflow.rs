//! Translates the fields `cluster` and `namespace` of templates of Argo Workflows into the annotations that Argo copies
//! to their pods: pure functions of the object. The fields stay: the next update compares them with the annotations.
//!
//! Argo itself does not know the fields, and some of its kinds have no schema, so any field may have any type.

use std::fmt;
use std::iter;

use json_patch::Patch;
use mcsa_credentials::contract::launch;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::json::{Any, Object};
use crate::message::{list, one_line, quote};
use crate::patch_builder::PatchBuilder;
use crate::pod;

/// The kinds that have templates.
pub(crate) const KINDS: [&str; 4] =
    ["Workflow", "WorkflowTemplate", "CronWorkflow", "ClusterWorkflowTemplate"];

/// A value that should be a string.
type Scalar<'a> = Any<'a, IgnoredAny>;

/// A partial view of an object of one of the [`KINDS`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workflow<'a> {
    #[serde(borrow)]
    metadata: Option<Object<pod::Metadata<'a>>>,
    #[serde(borrow)]
    spec: Any<'a, Spec<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    templates: Any<'a, Template<'a>>,
    #[serde(borrow)]
    template_defaults: Any<'a, Template<'a>>,
    #[serde(borrow)]
    pod_metadata: Any<'a, Metadata<'a>>,
    /// The spec of a CronWorkflow's workflows.
    #[serde(borrow)]
    workflow_spec: Any<'a, Box<Spec<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template<'a> {
    #[serde(borrow)]
    name: Scalar<'a>,
    #[serde(borrow)]
    cluster: Scalar<'a>,
    #[serde(borrow)]
    namespace: Scalar<'a>,
    #[serde(borrow)]
    metadata: Any<'a, Metadata<'a>>,
}

/// The metadata of pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    annotations: Any<'a, Annotations<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    /// [`launch::ELECT`].
    #[serde(borrow, rename = "multicluster.admiralty.io/elect")]
    elect: Scalar<'a>,
    /// [`launch::CLUSTER_NAME`].
    #[serde(borrow, rename = "multicluster.admiralty.io/clustername")]
    cluster_name: Scalar<'a>,
    /// [`launch::REMOTE_NAMESPACE`].
    #[serde(borrow, rename = "multicluster.admiralty.io/remote-namespace")]
    remote_namespace: Scalar<'a>,
}

/// A field can't be translated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTemplate {
    #[error("{template}: {field} must be {expected}")]
    Type { template: String, field: &'static str, expected: &'static str },
    #[error("{template}: {field} is {value}, but annotation {annotation} is {present}: change one of them")]
    Conflict {
        template: String,
        field: &'static str,
        value: String,
        annotation: &'static str,
        /// The value of the annotation.
        present: String,
    },
}

/// Computes the patch of a new or updated object. It adds the annotations that are missing, and never changes one.
///
/// # Errors
/// If a field is not a string, or if an annotation has another value.
pub(crate) fn patch(workflow: &Workflow) -> Result<Patch, InvalidTemplate> {
    let mut builder = PatchBuilder::default();
    if !workflow.is_deleted() {
        for place in workflow.specs().into_iter().flat_map(PlacedSpec::all_places) {
            place.annotate(&mut builder)?;
        }
    }
    Ok(builder.build())
}

/// Warns of templates that name a namespace, but whose pods get no cluster.
pub(crate) fn unused_namespaces(workflow: &Workflow) -> Option<String> {
    let places = workflow.specs().into_iter().flat_map(PlacedSpec::unused_namespaces);
    let unused: Vec<_> = places.map(|place| place.to_string()).collect();
    // The templates are last, because the API server may cut warnings after 256 characters.
    (!unused.is_empty() && !workflow.is_deleted()).then(|| {
        format!(
            "namespace has no effect unless the pods name a cluster; set cluster, too, in {}",
            list(&unused)
        )
    })
}

impl<'a> Workflow<'a> {
    /// See [`pod::Metadata::name`].
    pub(crate) fn name(&self) -> &str {
        self.metadata.as_ref().map(|metadata| metadata.name()).unwrap_or_default()
    }

    fn is_deleted(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.deletion_timestamp.is_some())
    }

    /// The specs that may have templates.
    fn specs(&self) -> Vec<PlacedSpec<'_, 'a>> {
        let Some(spec) = self.spec.object() else { return Vec::new() };
        let mut specs = vec![PlacedSpec { path: &["spec"], spec }];
        if let Some(spec) = spec.workflow_spec.object() {
            specs.push(PlacedSpec { path: &["spec", "workflowSpec"], spec });
        }
        specs
    }
}

/// A spec with templates, and where it is.
#[derive(Clone, Copy)]
struct PlacedSpec<'w, 'a> {
    path: &'static [&'static str],
    spec: &'w Spec<'a>,
}

impl<'w, 'a> PlacedSpec<'w, 'a> {
    fn all_places(self) -> impl Iterator<Item = Place<'w, 'a>> {
        self.defaults().into_iter().chain(self.templates())
    }

    fn defaults(self) -> Option<Place<'w, 'a>> {
        let template = self.spec.template_defaults.object()?;
        Some(Place { path: self.path, index: None, template })
    }

    /// Without items that are no objects, which Argo refuses.
    fn templates(self) -> impl Iterator<Item = Place<'w, 'a>> {
        self.spec.templates.items().iter().enumerate().filter_map(move |(index, template)| {
            Some(Place { path: self.path, index: Some(index), template: template.object()? })
        })
    }

    fn unused_namespaces(self) -> Vec<Place<'w, 'a>> {
        let pods_have_cluster = self.spec.pod_metadata.object().is_some_and(Metadata::names_cluster)
            || self.defaults().is_some_and(|defaults| defaults.template.names_cluster());
        if pods_have_cluster {
            return Vec::new();
        }
        let defaults_are_used = self.templates().any(|place| place.template.names_cluster());
        let unused = |place: &Place| {
            let is_used = place.template.names_cluster() || (place.index.is_none() && defaults_are_used);
            text(&place.template.namespace).is_some() && !is_used
        };
        self.all_places().filter(unused).collect()
    }
}

impl Template<'_> {
    fn names_cluster(&self) -> bool {
        text(&self.cluster).is_some() || self.metadata.object().is_some_and(Metadata::names_cluster)
    }
}

impl Metadata<'_> {
    fn names_cluster(&self) -> bool {
        let annotations = self.annotations.object();
        annotations.is_some_and(|present| !present.cluster_name.is_absent() || !present.elect.is_absent())
    }
}

/// A string, unless it is empty.
fn text<'v>(value: &'v Scalar) -> Option<&'v str> {
    match value {
        Any::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A template, and where it is. Without an index, it has the defaults of all templates of the spec.
struct Place<'w, 'a> {
    path: &'static [&'static str],
    index: Option<usize>,
    template: &'w Template<'a>,
}

impl fmt::Display for Place<'_, '_> {
    /// The field, and the name of the template.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spec = self.path.join(".");
        match self.index {
            Some(index) => write!(f, "{spec}.templates[{index}]")?,
            None => write!(f, "{spec}.templateDefaults")?,
        }
        text(&self.template.name).map_or(Ok(()), |name| write!(f, " ({})", one_line(name)))
    }
}

impl Place<'_, '_> {
    /// Adds the annotations that the template lacks.
    fn annotate(&self, builder: &mut PatchBuilder) -> Result<(), InvalidTemplate> {
        let missing = self.missing_annotations()?;
        if missing.is_empty() {
            return Ok(());
        }
        let index = self.index.map(|index| index.to_string());
        let mut path: Vec<&str> = self.path.to_vec();
        match &index {
            Some(index) => path.extend(["templates", index]),
            None => path.push("templateDefaults"),
        }
        path.push("metadata");
        let metadata = match &self.template.metadata {
            Any::Absent => {
                builder.set(&path, json!({ "annotations": missing }));
                return Ok(());
            }
            Any::Object(metadata) => metadata,
            _ => return Err(self.invalid("metadata", "an object")),
        };
        path.push("annotations");
        match &metadata.annotations {
            Any::Absent => builder.set(&path, missing.into()),
            Any::Object(_) => {
                for (annotation, value) in missing {
                    let path: Vec<_> = path.iter().copied().chain(iter::once(&*annotation)).collect();
                    builder.set(&path, value);
                }
            }
            _ => return Err(self.invalid("metadata.annotations", "an object")),
        }
        Ok(())
    }

    fn missing_annotations(&self) -> Result<Map<String, Value>, InvalidTemplate> {
        let Template { cluster, namespace, metadata, .. } = self.template;
        let annotations = metadata.object().and_then(|metadata| metadata.annotations.object());
        let mut missing = Map::new();
        for (field, value, annotation, present) in [
            ("cluster", cluster, launch::CLUSTER_NAME, annotations.map(|it| &it.cluster_name)),
            ("namespace", namespace, launch::REMOTE_NAMESPACE, annotations.map(|it| &it.remote_namespace)),
        ] {
            let value = match value {
                Any::Absent => continue,
                Any::Text(value) if value.is_empty() => continue,
                Any::Text(value) => &**value,
                _ => return Err(self.invalid(field, "a string")),
            };
            let present = match present {
                None | Some(Any::Absent) => {
                    missing.insert(annotation.to_owned(), value.into());
                    continue;
                }
                Some(Any::Text(present)) if present == value => continue,
                Some(Any::Text(present)) => quote(present),
                Some(_) => "not a string".to_owned(),
            };
            let (template, value) = (self.to_string(), quote(value));
            return Err(InvalidTemplate::Conflict { template, field, value, annotation, present });
        }
        Ok(missing)
    }

    fn invalid(&self, field: &'static str, expected: &'static str) -> InvalidTemplate {
        InvalidTemplate::Type { template: self.to_string(), field, expected }
    }
}

#[cfg(test)]
mod tests;
