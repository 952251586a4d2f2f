//! JSON types that treat `null` as absent, like the API server, and borrow from the input.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A string that is copied only if it contains escapes. `null` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

/// An object. A derived `Deserialize` would also accept a list of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object<T>(pub T);

/// A value whose type the API server has not checked. Objects are parsed as `T`, and lists as `L`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Any<'a, T, L = IgnoredAny> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Object(T),
    List(L),
    /// A number or a boolean.
    Other,
}

impl<T, L> Any<'_, T, L> {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(crate) fn object(&self) -> Option<&T> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> Option<&L> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(text.to_owned().into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>, L: Deserialize<'de>> Deserialize<'de> for Any<'a, T, L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor::<T, L>(PhantomData))
    }
}

struct AnyVisitor<T, L>(PhantomData<(T, L)>);

impl<'de, T: Deserialize<'de>, L: Deserialize<'de>> Visitor<'de> for AnyVisitor<T, L> {
    type Value = Any<'de, T, L>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Absent)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Text(text.into()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Text(text.to_owned().into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Any<'de, T, L>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Any::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Any<'de, T, L>, A::Error> {
        L::deserialize(SeqAccessDeserializer::new(list)).map(Any::List)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Any<'de, T, L>, E> {
        Ok(Any::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Pair<'a> {
        #[serde(borrow)]
        left: Text<'a>,
        #[serde(borrow)]
        right: Option<Text<'a>>,
    }

    #[rstest]
    #[case("{}", "", None)]
    #[case(r#"{"left":null,"right":null}"#, "", None)]
    #[case(r#"{"left":"a","right":"\u0062","other":[{}]}"#, "a", Some("b"))]
    fn objects_are_parsed(#[case] json: &str, #[case] left: &str, #[case] right: Option<&str>) {
        let Object(pair) = serde_json::from_str::<Object<Pair>>(json).unwrap();
        assert_eq!((&*pair.left, pair.right.as_deref()), (left, right));
        assert!(matches!(pair.left.0, Cow::Borrowed(_)) || left.is_empty());
    }

    #[rstest]
    #[case("null")]
    #[case("[]")]
    #[case(r#"["a","b"]"#)]
    #[case("7")]
    #[case(r#"{"left":7}"#)]
    #[case(r#"{"right":{}}"#)]
    fn other_values_are_rejected(#[case] json: &str) {
        assert!(serde_json::from_str::<Object<Pair>>(json).is_err());
    }

    #[rstest]
    #[case("null", Any::Absent)]
    #[case(r#""a""#, Any::Text("a".into()))]
    #[case(r#""\u0062""#, Any::Text("b".into()))]
    #[case(r#"{"left":"a"}"#, Any::Object(Pair { left: Text("a".into()), right: None }))]
    #[case(r#"["a","b"]"#, Any::List(vec!["a", "b"]))]
    #[case("true", Any::Other)]
    #[case("-7", Any::Other)]
    #[case("7", Any::Other)]
    #[case("7.5", Any::Other)]
    fn any_value_is_parsed(#[case] json: &str, #[case] expected: Any<'_, Pair<'_>, Vec<&str>>) {
        assert_eq!(serde_json::from_str::<Any<Pair, Vec<&str>>>(json).unwrap(), expected);
    }
}
