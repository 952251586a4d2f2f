//! Reads a JSON object as Go reads it into a struct.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::error::Problem;

/// The fields of a client-go struct. Errors do not quote values.
pub(super) struct Fields<'a>(Option<&'a Map<String, Value>>);

impl<'a> Fields<'a> {
    pub(super) fn of(name: &'static str, value: &'a Value) -> Result<Self, Problem> {
        match value {
            Value::Null => Ok(Self(None)),
            Value::Object(fields) => Ok(Self(Some(fields))),
            _ => Err(Problem::WrongType(name, "an object")),
        }
    }

    pub(super) fn inner(&self, name: &'static str) -> Result<Self, Problem> {
        self.get(name).map_or(Ok(Self(None)), |value| Self::of(name, value))
    }

    /// Empty is the same as absent.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'a str>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(Problem::WrongType(name, "a string")),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Problem::WrongType(name, "a boolean")),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        name: &'static str,
        form: &'static str,
    ) -> Result<Option<T>, Problem> {
        let value = self.get(name).map(T::deserialize).transpose();
        value.map_err(|_| Problem::WrongType(name, form))
    }

    /// Fails if one of these fields is set, in any case.
    pub(super) fn refuse(&self, names: &[&'static str]) -> Result<(), Problem> {
        let is_set = |(key, value): (&String, &Value), name: &str| {
            key.eq_ignore_ascii_case(name) && !value.is_null() && value != ""
        };
        let mut fields = self.0.into_iter().flatten();
        let found = fields.find_map(|field| names.iter().find(|name| is_set(field, name)));
        found.map_or(Ok(()), |name| Err(Problem::Refused(name)))
    }

    /// By exact name, else ignoring case.
    fn get(&self, name: &str) -> Option<&'a Value> {
        let fields = self.0?;
        let otherwise =
            || fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        fields.get(name).or_else(otherwise).filter(|value| !value.is_null())
    }
}
