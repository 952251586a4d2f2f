//! JSON types that treat `null` as absent, like the API server, and borrow from the input.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A string that is copied only if it contains escapes. `null` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

/// An object. A derived `Deserialize` would also accept a list of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Object<T>(pub T);

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
}
