//! Templates, as far as they are read. Any field may have any type.

use std::fmt;
use std::ops::ControlFlow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::Any;

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
        let _ = self.for_each_step(|step, path| {
            if let Some(step) = object::<Step>(step)
                && let Any::Object(template) = step.inline
                && template.is_relevant()
            {
                inlines.push((path.to_string(), template));
            }
            break_if(inlines.len() > MAX_TEMPLATES)
        });
        inlines
    }

    /// Calls a function with each step and task, and with the path of its inline template, until the function breaks.
    fn for_each_step(
        &self,
        mut f: impl FnMut(&'a RawValue, fmt::Arguments<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for_each_item(self.steps, |group, steps| {
            for_each_item(Some(steps), |index, step| f(step, format_args!(".steps[{group}][{index}].inline")))
        })?;
        let dag = self.dag.and_then(object::<Dag>);
        for_each_item(dag.and_then(|dag| dag.tasks), |index, task| {
            f(task, format_args!(".dag.tasks[{index}].inline"))
        })
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

    /// Breaks if there are too many.
    fn add(&mut self, index: usize, item: &'a RawValue) -> ControlFlow<()> {
        // Skips items that are not objects; Argo refuses them.
        let Some(template) = object::<Template>(item) else { return ControlFlow::Continue(()) };
        let inlines = template.inlines();
        let count = usize::from(template.is_relevant()) + inlines.len();
        self.count += count;
        if count > 0 && !self.are_too_many() {
            self.listed.push(Listed { index, template, inlines });
        }
        break_if(self.are_too_many())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Templates<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut templates = Self::default();
        deserializer.deserialize_seq(Items(|index, item: &'de RawValue| templates.add(index, item)))?;
        Ok(templates)
    }
}

fn break_if(condition: bool) -> ControlFlow<()> {
    if condition { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Parses a value if it is an object. Does not try to parse others: each would cost an error, and a list may have a
/// million of them.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    if !value.get().starts_with('{') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

/// Calls a function with each item of a list, and its index, until the function breaks. A value of another type has no
/// items.
fn for_each_item<'a>(
    list: Option<&'a RawValue>,
    mut f: impl FnMut(usize, &'a RawValue) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut flow = ControlFlow::Continue(());
    if let Some(list) = list.filter(|list| list.get().starts_with('[')) {
        // Never fails: a raw value is valid JSON.
        let _ = list.deserialize_seq(Items(|index, item: &'a RawValue| {
            flow = f(index, item);
            flow
        }));
    }
    flow
}

/// Calls a function with each item of a list, and its index, so that no list is kept in memory, until the function
/// breaks.
struct Items<F>(F);

impl<'de, F: FnMut(usize, &'de RawValue) -> ControlFlow<()>> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for index in 0.. {
            let Some(item) = list.next_element::<&'de RawValue>()? else { return Ok(()) };
            if (self.0)(index, item).is_break() {
                break;
            }
        }
        // The parser requires that a list is read to its end.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    struct NeverParsed;

    impl<'de> Deserialize<'de> for NeverParsed {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("it was parsed")
        }
    }

    #[rstest]
    #[case("null")]
    #[case("7")]
    #[case(r#""{}""#)]
    #[case("[{}]")]
    fn only_objects_are_parsed(#[case] value: &str) {
        let value: &RawValue = serde_json::from_str(value).unwrap();
        assert!(object::<NeverParsed>(value).is_none());
    }

    #[test]
    fn templates_are_not_parsed_when_there_are_too_many() {
        let list = |count| format!("[ 7, {} ]", vec![r#"{ "cluster": "c2" }"#; count].join(", "));
        for (count, expected) in [(2, 2), (2 * MAX_TEMPLATES, MAX_TEMPLATES + 1)] {
            let list = list(count);
            let templates: Templates = serde_json::from_str(&list).unwrap();
            assert_eq!(templates.count, expected);
        }
    }

    #[test]
    fn steps_are_not_read_after_a_break() {
        let template = r#"{ "steps": [7, [1, 2], [3, 4]], "dag": { "tasks": [5, 6] } }"#;
        let template: Template = serde_json::from_str(template).unwrap();
        for (last, expected) in [("1", "1"), ("3", "1 2 3"), ("5", "1 2 3 4 5"), ("", "1 2 3 4 5 6")] {
            let mut read = Vec::new();
            let _ = template.for_each_step(|step, _| {
                read.push(step.get());
                break_if(step.get() == last)
            });
            assert_eq!(read.join(" "), expected);
        }
    }
}
