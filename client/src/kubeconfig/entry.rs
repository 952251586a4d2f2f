//! An entry of a kubeconfig: a context, a cluster or a user.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::field_problem::FieldProblem;
use super::place::{EntryKind, Place};
use super::problem::{EntryProblem, Problem};

/// A context, cluster or user. *Absent:* `Debug`, which would print credentials.
#[derive(Clone)]
pub struct Entry {
    kind: EntryKind,
    name: String,
    value: Value,
    place: Place,
}

/// The fields of an entry, or of an object in it.
pub(crate) struct Fields<'a> {
    fields: Option<&'a Map<String, Value>>,
    /// The path of the object in the entry, with a dot at its end.
    path: String,
}

impl Entry {
    /// `None` if it has no name: nothing can refer to it.
    pub(super) fn new(kind: EntryKind, raw: Spanned<Value>, file: Option<&Arc<Path>>) -> Option<Self> {
        let at = (raw.referenced.line(), raw.referenced.column());
        let Value::Object(mut fields) = raw.value else { return None };
        let name = fields.get("name").and_then(text)?;
        let value = fields.remove(kind.key()).unwrap_or_default();
        Some(Self { kind, name, value, place: Place::new(file.cloned(), Some(at)) })
    }

    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An error about this entry.
    pub(crate) fn problem(&self, problem: impl Into<FieldProblem>) -> Problem {
        Problem::Entry(Box::new(EntryProblem {
            place: self.place.clone(),
            kind: self.kind,
            name: self.name.clone(),
            problem: problem.into(),
        }))
    }

    /// A text field. `None` if it is absent, empty or of another type.
    pub fn text(&self, field: &str) -> Option<String> {
        self.fields().ok()?.text(field).ok()?
    }

    pub(crate) fn fields(&self) -> Result<Fields<'_>, Problem> {
        Fields::new(&self.value, String::new()).ok_or_else(|| {
            let field = self.kind.key().to_owned();
            self.problem(FieldProblem::WrongType { field, expected: "an object" })
        })
    }

    /// Resolves a path of a file, which is relative to the folder of the kubeconfig.
    pub(super) fn path(&self, path: &str) -> std::path::PathBuf {
        match self.place.file().and_then(Path::parent) {
            Some(folder) => folder.join(path),
            None => path.into(),
        }
    }
}

impl<'a> Fields<'a> {
    fn new(value: &'a Value, path: String) -> Option<Self> {
        match value {
            Value::Null => Some(Self { fields: None, path }),
            Value::Object(fields) => Some(Self { fields: Some(fields), path }),
            _ => None,
        }
    }

    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.fields?.get(field).filter(|value| !value.is_null())
    }

    /// A text. Empty is absent.
    pub(crate) fn text(&self, field: &str) -> Result<Option<String>, FieldProblem> {
        let Some(value) = self.value(field) else { return Ok(None) };
        match value {
            Value::Array(_) | Value::Object(_) => Err(self.wrong_type(field, "a string")),
            scalar => Ok(text(scalar)),
        }
    }

    pub(crate) fn flag(&self, field: &str) -> Result<bool, FieldProblem> {
        match self.value(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong_type(field, "true or false")),
        }
    }

    /// A list of texts, which may be empty.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>, FieldProblem> {
        let item = |item: &Value| match item {
            Value::Array(_) | Value::Object(_) => Err(self.wrong_type(field, "a list of strings")),
            scalar => Ok(text(scalar).unwrap_or_default()),
        };
        self.list(field)?.iter().map(item).collect()
    }

    pub(crate) fn list(&self, field: &str) -> Result<&'a [Value], FieldProblem> {
        match self.value(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong_type(field, "a list")),
        }
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, field: &str) -> Result<Vec<Fields<'a>>, FieldProblem> {
        let object = |(number, item)| {
            Fields::new(item, format!("{}{field}[{number}].", self.path))
                .ok_or_else(|| self.wrong_type(field, "a list of objects"))
        };
        self.list(field)?.iter().enumerate().map(object).collect()
    }

    /// An object. `None` if it is absent.
    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, FieldProblem> {
        let Some(value) = self.value(field) else { return Ok(None) };
        let object = Fields::new(value, format!("{}{field}.", self.path));
        object.map(Some).ok_or_else(|| self.wrong_type(field, "an object"))
    }

    /// The names of the fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.fields.into_iter().flat_map(|fields| fields.keys().map(String::as_str))
    }

    pub(super) fn wrong_type(&self, field: &str, expected: &'static str) -> FieldProblem {
        FieldProblem::WrongType { field: format!("{}{field}", self.path), expected }
    }
}

/// A scalar as text: kubectl reads numbers and booleans as text where it expects a string. Empty is absent.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}
