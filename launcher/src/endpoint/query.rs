//! Query strings, in bytes: a command may hold any bytes.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// All but the characters that RFC 3986 never requires to be encoded.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The pairs of a query, decoded as Go does: `+` is a space. Skips names that are not UTF-8.
pub(super) fn decode(query: &str) -> Vec<(String, Vec<u8>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((String::from_utf8(bytes(name)).ok()?, bytes(value)))
    });
    decoded.collect()
}

fn bytes(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

/// The query of these pairs.
pub(super) fn encode<N: AsRef<str>>(pairs: &[(N, Vec<u8>)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| {
        format!("{}={}", escape(name.as_ref().as_bytes()), percent_encode(value, &RESERVED))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Encodes a segment of a path.
pub(super) fn escape(segment: &[u8]) -> Cow<'_, str> {
    percent_encode(segment, &RESERVED).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::any;
    use proptest::{prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn decoding_reverses_encoding(pairs in vec(("[^\0]{1,5}", vec(any::<u8>(), 0..9)), 0..9)) {
            let encoded = encode(&pairs);
            prop_assert_eq!(decode(&encoded), pairs, "{}", encoded);
        }
    }

    #[test]
    fn query_is_decoded_as_go_does() {
        let pairs = decode("a=1+2%2B3&b&c=&=d&&e=x=y&f=%zz");
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| (&**name, std::str::from_utf8(value).unwrap())).collect();
        assert_eq!(pairs, [("a", "1 2+3"), ("b", ""), ("c", ""), ("", "d"), ("e", "x=y"), ("f", "%zz")]);
    }
}
