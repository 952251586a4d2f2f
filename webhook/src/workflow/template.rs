//! Templates, as far as they are read. Any field may have any type.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Any, Object};

/// Maximum number of templates of a spec that name a cluster or a namespace, including inline templates. Argo's full
/// schemas allow 200 templates. The others have no limit, and a body of megabytes could list a million.
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
    steps: Option<&'a RawValue>,
    #[serde(borrow)]
    dag: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dag<'a> {
    #[serde(borrow)]
    tasks: Option<&'a RawValue>,
}

/// A step, or a task of a DAG.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Step<'a> {
    #[serde(borrow)]
    inline: Any<'a, Template<'a>>,
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

impl<'a> Template<'a> {
    pub(super) fn names_cluster(&self) -> bool {
        text(&self.cluster).is_some() || self.metadata.object().is_some_and(Metadata::names_cluster)
    }

    /// Whether it consists of steps, and so has no pod of its own.
    pub(super) fn has_steps(&self) -> bool {
        self.steps.is_some() || self.dag.is_some()
    }

    /// Whether it must be kept: it has a field that is translated, or an annotation that names a cluster.
    fn is_relevant(&self) -> bool {
        !self.cluster.is_absent() || !self.namespace.is_absent() || self.names_cluster()
    }

    /// The relevant inline templates of its steps and tasks, each with its path in this template. Keeps at most one
    /// more than [`MAX_TEMPLATES`].
    ///
    /// Inline templates within inline templates are not read: Argo's documentation says that they do not work.
    fn inlines(&self) -> Vec<(String, Template<'a>)> {
        let mut inlines = Vec::new();
        let mut add = |step: &'a RawValue, path: fmt::Arguments<'_>| {
            if inlines.len() <= MAX_TEMPLATES
                && let Ok(Object(step)) = serde_json::from_str::<Object<Step>>(step.get())
                && let Any::Object(template) = step.inline
                && template.is_relevant()
            {
                inlines.push((path.to_string(), template));
            }
        };
        for_each_item(self.steps, |group, steps| {
            for_each_item(Some(steps), |index, step| {
                add(step, format_args!(".steps[{group}][{index}].inline"));
            });
        });
        let dag = self.dag.and_then(|dag| serde_json::from_str::<Object<Dag>>(dag.get()).ok());
        for_each_item(dag.and_then(|dag| dag.tasks), |index, task| {
            add(task, format_args!(".dag.tasks[{index}].inline"));
        });
        inlines
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

/// The templates of the list that are relevant, or have relevant inline templates.
#[derive(Debug, Default)]
pub(super) struct Templates<'a> {
    pub(super) listed: Vec<Listed<'a>>,
    /// The number of relevant templates, including inline templates.
    count: usize,
}

/// A template of the list.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    pub(super) index: usize,
    pub(super) template: Template<'a>,
    /// See [`Template::inlines`].
    pub(super) inlines: Vec<(String, Template<'a>)>,
}

impl<'a> Templates<'a> {
    /// Whether there are more than [`MAX_TEMPLATES`]. If so, some were not kept.
    pub(super) fn are_too_many(&self) -> bool {
        self.count > MAX_TEMPLATES
    }

    fn add(&mut self, index: usize, item: &'a RawValue) {
        // Skips items that are not objects; Argo refuses them.
        let Ok(Object(template)) = serde_json::from_str::<Object<Template>>(item.get()) else { return };
        let inlines = template.inlines();
        let count = usize::from(template.is_relevant()) + inlines.len();
        self.count += count;
        if count > 0 && !self.are_too_many() {
            self.listed.push(Listed { index, template, inlines });
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Templates<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut templates = Self::default();
        deserializer.deserialize_seq(Items(|index, item: &'de RawValue| templates.add(index, item)))?;
        Ok(templates)
    }
}

/// Calls a function with each item of a list, and its index. A value of another type has no items.
fn for_each_item<'a>(list: Option<&'a RawValue>, f: impl FnMut(usize, &'a RawValue)) {
    if let Some(list) = list {
        // Fails if the value is not a list.
        let _ = list.deserialize_seq(Items(f));
    }
}

/// Calls a function with each item of a list, and its index, so that no list is kept in memory.
struct Items<F>(F);

impl<'de, F: FnMut(usize, &'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let Some(item) = list.next_element::<&'de RawValue>()? else { break };
            (self.0)(index, item);
        }
        Ok(())
    }
}
