//! Translates the fields `cluster` and `namespace` of templates of Argo Workflows into the annotations that Argo copies
//! to their pods: pure functions of the object. The fields stay: the next update compares them with the annotations.
//!
//! Argo itself does not know the fields, and some of its kinds have no schema, so any field may have any type.

mod template;
mod warnings;

use std::fmt;
use std::iter;

use json_patch::Patch;
use mcsa_credentials::contract::launch;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use self::template::{Listed, MAX_TEMPLATES, Metadata, Scalar, Template, Templates, text};
pub(crate) use self::warnings::warnings;
use crate::json::{Any, Object};
use crate::message::{one_line, quote};
use crate::patch_builder::PatchBuilder;
use crate::pod;

/// The kinds that have templates.
pub(crate) const KINDS: [&str; 4] =
    ["Workflow", "WorkflowTemplate", "CronWorkflow", "ClusterWorkflowTemplate"];

/// A partial view of an object of one of the [`KINDS`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Workflow<'a> {
    #[serde(borrow)]
    metadata: Option<Object<pod::Metadata<'a>>>,
    #[serde(borrow)]
    spec: Any<'a, Spec<'a, Spec<'a, IgnoredAny>>>,
}

/// A spec with templates. `W`: the spec of a CronWorkflow's workflows, which is not read at any other depth.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "W: Deserialize<'de> + Default"))]
struct Spec<'a, W> {
    #[serde(borrow)]
    templates: Any<'a, IgnoredAny, Templates<'a>>,
    #[serde(borrow)]
    template_defaults: Any<'a, Template<'a>>,
    #[serde(borrow)]
    pod_metadata: Any<'a, Metadata<'a>>,
    #[serde(borrow)]
    workflow_spec: Any<'a, W>,
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
    #[error(
        "{spec}.templates: more than {MAX_TEMPLATES} templates name a cluster or a namespace: use templateDefaults, or \
         annotations of podMetadata"
    )]
    TooMany { spec: &'static str },
}

/// Computes the patch of a new or updated object. `stored`: the object before the update.
///
/// An annotation that a field has set follows the field. If the field is gone, the annotation stays: Argo's own programs drop
/// the fields when they write an object.
///
/// # Errors
/// If a field is not a string, or if the user has set the annotation to another value.
pub(crate) fn patch(workflow: &Workflow, stored: &Workflow) -> Result<Patch, InvalidTemplate> {
    let mut builder = PatchBuilder::default();
    for spec in workflow.specs() {
        if spec.templates.is_some_and(Templates::are_too_many) {
            return Err(InvalidTemplate::TooMany { spec: spec.path });
        }
        for place in spec.all_places() {
            place.annotate(stored, &mut builder)?;
        }
    }
    Ok(builder.build())
}

impl<'a> Workflow<'a> {
    /// See [`pod::Metadata::name`].
    pub(crate) fn name(&self) -> &str {
        self.metadata.as_ref().map(|metadata| metadata.name()).unwrap_or_default()
    }

    /// The clusters that templates name in their fields.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &str> {
        let places = self.specs().into_iter().flat_map(PlacedSpec::all_places);
        places.filter_map(|place| text(&place.template.cluster))
    }

    /// The specs that may have templates.
    fn specs(&self) -> Vec<PlacedSpec<'_, 'a>> {
        let Some(spec) = self.spec.object() else { return Vec::new() };
        let nested = spec.workflow_spec.object().map(|spec| spec.placed("spec.workflowSpec"));
        [Some(spec.placed("spec")), nested].into_iter().flatten().collect()
    }
}

impl<'a, W> Spec<'a, W> {
    fn placed<'w>(&'w self, path: &'static str) -> PlacedSpec<'w, 'a> {
        let Self { templates, template_defaults, pod_metadata, .. } = self;
        let (templates, defaults) = (templates.list(), template_defaults.object());
        PlacedSpec { path, templates, defaults, pod_metadata: pod_metadata.object() }
    }
}

/// A spec with templates, and where it is.
#[derive(Clone, Copy)]
struct PlacedSpec<'w, 'a> {
    path: &'static str,
    templates: Option<&'w Templates<'a>>,
    defaults: Option<&'w Template<'a>>,
    pod_metadata: Option<&'w Metadata<'a>>,
}

impl<'w, 'a> PlacedSpec<'w, 'a> {
    fn all_places(self) -> impl Iterator<Item = Place<'w, 'a>> {
        self.defaults().into_iter().chain(self.templates())
    }

    fn defaults(self) -> Option<Place<'w, 'a>> {
        Some(Place { spec: self.path, listed: None, inline: "", template: self.defaults? })
    }

    /// The templates of the list, and their inline templates.
    fn templates(self) -> impl Iterator<Item = Place<'w, 'a>> {
        let listed = self.templates.into_iter().flat_map(|templates| &templates.listed);
        listed.flat_map(move |item| {
            let place = move |inline: &'w str, template: &'w Template<'a>| Place {
                spec: self.path,
                listed: Some(item),
                inline,
                template,
            };
            let inlines = item.inlines.iter().map(move |(path, template)| place(path, template));
            iter::once(place("", &item.template)).chain(inlines)
        })
    }
}

/// A template, and where it is.
struct Place<'w, 'a> {
    /// The path of its spec.
    spec: &'static str,
    /// The item of `templates` that it is, or is in. `None`: it has the defaults of all templates of the spec.
    listed: Option<&'w Listed<'a>>,
    /// The path of an inline template in that item. Empty for any other template.
    inline: &'w str,
    template: &'w Template<'a>,
}

impl fmt::Display for Place<'_, '_> {
    /// The path, and the name of the template that it is, or is in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())?;
        self.name().map_or(Ok(()), |name| write!(f, " ({})", one_line(name)))
    }
}

impl Place<'_, '_> {
    /// The path in the object, such as `spec.templates[2].steps[0][1].inline`.
    fn path(&self) -> String {
        let Self { spec, inline, .. } = self;
        match self.listed {
            Some(item) => format!("{spec}.templates[{}]{inline}", item.index),
            None => format!("{spec}.templateDefaults"),
        }
    }

    fn name(&self) -> Option<&str> {
        self.listed.and_then(|item| text(&item.template.name))
    }

    /// Adds the annotations that the template lacks, and changes those that a field has set.
    fn annotate(&self, stored: &Workflow, builder: &mut PatchBuilder) -> Result<(), InvalidTemplate> {
        let annotations = self.annotations(stored)?;
        if annotations.is_empty() {
            return Ok(());
        }
        let path = self.path();
        // As tokens of a JSON pointer.
        let mut path: Vec<_> = path.split(['.', '[']).map(|token| token.trim_end_matches(']')).collect();
        path.push("metadata");
        let metadata = match &self.template.metadata {
            Any::Absent => {
                builder.set(&path, json!({ "annotations": annotations }));
                return Ok(());
            }
            Any::Object(metadata) => metadata,
            _ => return Err(self.invalid("metadata", "an object")),
        };
        path.push("annotations");
        match &metadata.annotations {
            Any::Absent => builder.set(&path, annotations.into()),
            Any::Object(_) => {
                for (annotation, value) in annotations {
                    let path: Vec<_> = path.iter().copied().chain(iter::once(&*annotation)).collect();
                    builder.set(&path, value);
                }
            }
            _ => return Err(self.invalid("metadata.annotations", "an object")),
        }
        Ok(())
    }

    /// The annotations to set.
    fn annotations(&self, stored: &Workflow) -> Result<Map<String, Value>, InvalidTemplate> {
        let mut annotations = Map::new();
        for field in [Field::Cluster, Field::Namespace] {
            let value = match field.value(self.template) {
                Any::Absent => continue,
                Any::Text(value) if value.is_empty() => continue,
                Any::Text(value) => &**value,
                _ => return Err(self.invalid(field.name(), "a string")),
            };
            let present = match field.annotation_of(self.template) {
                None | Some(Any::Absent) => None,
                Some(Any::Text(present)) if present == value => continue,
                Some(Any::Text(present)) if self.was_set_by(field, present, stored) => None,
                Some(Any::Text(present)) => Some(quote(present)),
                Some(_) => Some("not a string".to_owned()),
            };
            if let Some(present) = present {
                let (template, value, annotation) = (self.to_string(), quote(value), field.annotation());
                return Err(InvalidTemplate::Conflict {
                    template,
                    field: field.name(),
                    value,
                    annotation,
                    present,
                });
            }
            annotations.insert(field.annotation().to_owned(), value.into());
        }
        Ok(annotations)
    }

    /// Whether the field had this value before the update, so that it has set the annotation.
    fn was_set_by(&self, field: Field, present: &str, stored: &Workflow) -> bool {
        let specs = stored.specs().into_iter().filter(|spec| spec.path == self.spec);
        let mut places = specs.flat_map(PlacedSpec::all_places).filter(|place| place.inline == self.inline);
        let before = places.find(|place| match (self.listed, place.listed) {
            (Some(item), Some(other)) => match self.name() {
                Some(name) => place.name() == Some(name),
                None => item.index == other.index,
            },
            (None, None) => true,
            _ => false,
        });
        before.is_some_and(|before| text(field.value(before.template)) == Some(present))
    }

    fn invalid(&self, field: &'static str, expected: &'static str) -> InvalidTemplate {
        InvalidTemplate::Type { template: self.to_string(), field, expected }
    }
}

/// A field that is translated.
#[derive(Clone, Copy)]
enum Field {
    Cluster,
    Namespace,
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Namespace => "namespace",
        }
    }

    fn annotation(self) -> &'static str {
        match self {
            Self::Cluster => launch::CLUSTER_NAME,
            Self::Namespace => launch::REMOTE_NAMESPACE,
        }
    }

    fn value<'t, 'a>(self, template: &'t Template<'a>) -> &'t Scalar<'a> {
        match self {
            Self::Cluster => &template.cluster,
            Self::Namespace => &template.namespace,
        }
    }

    fn annotation_of<'t, 'a>(self, template: &'t Template<'a>) -> Option<&'t Scalar<'a>> {
        let annotations = template.metadata.object()?.annotations.object()?;
        Some(match self {
            Self::Cluster => &annotations.cluster_name,
            Self::Namespace => &annotations.remote_namespace,
        })
    }
}

#[cfg(test)]
mod tests;
