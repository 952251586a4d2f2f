//! Objects, as whoever installs them prints them; and what two such lists do not agree on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Objects by what a person calls them: `Role default/importer`.
#[derive(Clone, Debug, Default)]
pub struct Objects(BTreeMap<String, Value>);

impl Objects {
    /// Those of a YAML text, in which none may be twice.
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

    /// Those of which this is so.
    pub fn retain(mut self, mut keep: impl FnMut(&Value) -> bool) -> Self {
        self.0.retain(|_, object| keep(object));
        self
    }

    /// Fails unless both have the same objects with the same fields, and says what is not the same.
    pub fn are(&self, expected: &Self) -> anyhow::Result<()> {
        let titles: BTreeSet<_> = self.0.keys().chain(expected.0.keys()).collect();
        let object = |title| differences(&format!("{title}:"), self.0.get(title), expected.0.get(title));
        let differences: Vec<_> = titles.into_iter().flat_map(object).collect();
        ensure!(!expected.0.is_empty(), "nothing is expected");
        ensure!(differences.is_empty(), "these are not as expected:\n{}", differences.join("\n"));
        Ok(())
    }
}

fn title(object: &Value) -> anyhow::Result<String> {
    let metadata = &object["metadata"];
    let (kind, name) = object["kind"].as_str().zip(metadata["name"].as_str()).context("not an object")?;
    let namespace = metadata["namespace"].as_str().map(|namespace| format!("{namespace}/"));
    Ok(format!("{kind} {}{name}", namespace.unwrap_or_default()))
}

/// What is not the same at a path.
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
        // kustomize takes 600.0 for 600, as the API server does.
        (Some(Value::Number(is)), Some(Value::Number(should_be))) if is.as_f64() == should_be.as_f64() => {
            Vec::new()
        }
        (is, should_be) if is == should_be => Vec::new(),
        (Some(is), Some(should_be)) => vec![format!("{at} is {is}, and should be {should_be}")],
        (Some(_), None) => vec![format!("{at} is there, and should not be")],
        (None, _) => vec![format!("{at} is missing")],
    }
}
