//! What a plain scalar is.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error, Visitor};
use serde_json::Number;

use super::Tree;

/// Reads a plain scalar: `serde_yaml` decides about all that could be something else than text.
pub(super) fn read(text: &str) -> Result<Tree, String> {
    if !could_be_no_text(text) {
        return Ok(Tree::Text(text.into()));
    }
    // A reader is made for each of the others, which would take most of the time of a long list of numbers.
    match text {
        "" | "~" | "null" => return Ok(Tree::Null),
        "true" => return Ok(Tree::Bool(true)),
        "false" => return Ok(Tree::Bool(false)),
        _ => {}
    }
    if text.len() < 19
        && !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && let Ok(number) = text.parse::<u64>()
    {
        return Ok(Tree::Number(number.into()));
    }
    serde_yaml::Deserializer::from_str(text).deserialize_any(Scalar).map_err(|error| {
        let text = error.to_string();
        text.find(" at line ").map_or(text.as_str(), |end| &text[..end]).to_owned()
    })
}

/// Says whether a plain scalar has the look of a number, a boolean or nothing. Of those that have, each is a document of its own
/// that `serde_yaml` reads as it would read it inside another.
fn could_be_no_text(text: &str) -> bool {
    match text.as_bytes() {
        [] | [b'~'] => true,
        [b'0'..=b'9' | b'+' | b'-' | b'.', ..] => {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
                && text.bytes().any(|b| b.is_ascii_alphanumeric())
        }
        _ => ["null", "true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)),
    }
}

struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number or boolean")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Tree, E> {
        Err(E::custom("the number is too large; in quotes it is a text"))
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Tree, E> {
        Err(E::custom("the number is too large; in quotes it is a text"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("infinity and NaN are no values here"))?;
        Ok(Tree::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.into()))
    }
}
