//! Lists of objects, and the differences between two lists.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Objects by their title, like `Role default/importer`.
#[derive(Clone, Debug, Default)]
pub struct Objects(BTreeMap<String, Value>);

impl Objects {
    /// Parses YAML documents. Fails if an object is there twice.
    pub fn parse(yaml: &str) -> anyhow::Result<Self> {
        let mut objects = Self::default();
        for object in serde_saphyr::from_multiple::<Value>(yaml)?.into_iter().filter(|one| !one.is_null()) {
            let title = title(&object)?;
            ensure!(objects.0.insert(title.clone(), object).is_none(), "{title} is there twice");
        }
        Ok(objects)
    }

    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub fn remove(&mut self, title: &str) -> anyhow::Result<Value> {
        self.0.remove(title).with_context(|| format!("there is no {title}"))
    }

    pub fn get_mut(&mut self, title: &str) -> anyhow::Result<&mut Value> {
        self.0.get_mut(title).with_context(|| format!("there is no {title}"))
    }

    /// The objects that match.
    pub fn filter(mut self, mut matches: impl FnMut(&Value) -> bool) -> Self {
        self.0.retain(|_, object| matches(object));
        self
    }

    /// Fails unless both lists have the same objects with the same fields. The error lists the differences.
    pub fn ensure_equal(&self, expected: &Self) -> anyhow::Result<()> {
        let titles: BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        let object = |title| differences(&format!("{title}:"), self.0.get(title), expected.0.get(title));
        let differences: Vec<_> = titles.into_iter().flat_map(object).collect();
        ensure!(!expected.0.is_empty(), "the expected list is empty");
        ensure!(differences.is_empty(), "unexpected differences:\n{}", differences.join("\n"));
        Ok(())
    }
}

fn title(object: &Value) -> anyhow::Result<String> {
    let metadata = &object["metadata"];
    let (kind, name) =
        object["kind"].as_str().zip(metadata["name"].as_str()).context("the document is not an object")?;
    let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/"));
    Ok(format!("{kind} {}{name}", namespace.unwrap_or_default()))
}

/// The differences between two values at a path.
fn differences(at: &str, is: Option<&Value>, should_be: Option<&Value>) -> Vec<String> {
    match (is, should_be) {
        (Some(Value::Object(is)), Some(Value::Object(should_be))) => {
            let keys: BTreeSet<_> = is.keys().chain(should_be.keys()).collect();
            let field = |key| differences(&format!("{at}/{key}"), is.get(key), should_be.get(key));
            keys.into_iter().flat_map(field).collect()
        }
        (Some(Value::Array(is)), Some(Value::Array(should_be))) if is.len() == should_be.len() => {
            let pairs = is.iter().zip(should_be).enumerate();
            let item =
                |(index, (is, should_be))| differences(&format!("{at}/{index}"), Some(is), Some(should_be));
            pairs.flat_map(item).collect()
        }
        // kustomize and the API server treat 600.0 like 600.
        (Some(Value::Number(is)), Some(Value::Number(should_be))) if is.as_f64() == should_be.as_f64() => {
            Vec::new()
        }
        (is, should_be) if is == should_be => Vec::new(),
        (Some(is), Some(should_be)) => vec![format!("{at} is {is}, but should be {should_be}")],
        (Some(_), None) => vec![format!("{at} exists, but should not")],
        (None, _) => vec![format!("{at} is missing")],
    }
}
