//! A user's attributes in one allocation, because there may be millions of users.

use std::{collections::BTreeMap, iter};

use super::{AttributeName, AttributeValue};

/// Names and values, sorted by name, immutable, in one allocation. Its `Debug` shows nothing.
// For each attribute: the lengths of name and value as three characters of 15 bits, the name, the
// value. All of it is one string, so that reading need not validate UTF-8 again.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Attributes(Box<str>);

impl Attributes {
    /// Returns the value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// Returns every name and value, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut rest = &*self.0;
        iter::from_fn(move || {
            let mut text = rest.chars();
            let mut length = || Some(text.next()? as usize);
            let (name, high, low) = (length()?, length()?, length()?);
            let (name, values) = text.as_str().split_at_checked(name)?;
            let value;
            (value, rest) = values.split_at_checked(high << BITS | low)?;
            Some((name, value))
        })
    }

    /// Returns the size of the allocation, in bytes.
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }
}

impl From<BTreeMap<AttributeName, AttributeValue>> for Attributes {
    fn from(attributes: BTreeMap<AttributeName, AttributeValue>) -> Self {
        let pairs = || attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // A string that grew would leave free pieces of many sizes between cached users, too small for
        // the next one.
        let mut text = String::with_capacity(pairs().map(packed_len).sum());
        for (name, value) in pairs() {
            text.extend(lengths(name, value));
            text.extend([name, value]);
        }
        Self(text.into())
    }
}

redacted_debug!(Attributes);

/// Returns the length of a packed attribute, in bytes.
fn packed_len((name, value): (&str, &str)) -> usize {
    lengths(name, value).map(char::len_utf8).iter().sum::<usize>() + name.len() + value.len()
}

/// Encodes the lengths of name and value.
fn lengths(name: &str, value: &str) -> [char; 3] {
    [length_char(name.len()), length_char(value.len() >> BITS), length_char(value.len())]
}

/// Encodes the lowest 15 bits of a length as a character. All of these are below the surrogates, so
/// all are valid.
fn length_char(number: usize) -> char {
    let bits = u32::try_from(number & ((1 << BITS) - 1)).unwrap_or_default();
    char::from_u32(bits).unwrap_or_default()
}

const BITS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order() {
        let long = "é".repeat(600_000);
        let table: &[&[(&str, &str)]] = &[
            &[],
            &[("email", "")],
            &[("a", "1"), ("b", "\0"), ("custom:plan", "gold")],
            &[("name", &"v".repeat(127)), ("nickname", &"v".repeat(128)), ("profile", &"v".repeat(32_767))],
            &[("name", &"v".repeat(32_768)), ("picture", &long), ("zoneinfo", "Ünïcödé 🦀")],
            &[(&"n".repeat(64), "x"), (&"名".repeat(64), "y")],
        ];
        for pairs in table {
            let attributes = pack(pairs);
            assert!(attributes.iter().eq(pairs.iter().copied()));
            for (name, value) in *pairs {
                assert_eq!(attributes.get(name), Some(*value));
            }
            assert_eq!(attributes.get("website"), None);
        }
        assert!(pack(&[("b", "2"), ("a", "1")]).iter().eq([("a", "1"), ("b", "2")]), "sorted");
    }

    #[test]
    fn a_short_attribute_costs_three_bytes_more_than_its_text() {
        assert_eq!(pack(&[("email", "ada@example.com")]).byte_len(), 3 + 5 + 15);
    }

    #[test]
    fn nothing_personal_is_shown() {
        let attributes = pack(&[("email", "secret")]);
        assert!(!format!("{attributes:?}").contains("secret"));
    }

    fn pack(pairs: &[(&str, &str)]) -> Attributes {
        let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), (*value).to_owned().into());
        pairs.iter().map(pair).collect::<BTreeMap<_, _>>().into()
    }
}
