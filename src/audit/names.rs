//! The attribute names that a record lists.

use super::line::put_item;
use crate::query::Query;

/// Attribute names, as items of a JSON list.
#[derive(Debug, Default)]
pub(super) struct AttributeNames {
    /// As [`put_item`] puts them.
    pub(super) items: Vec<u8>,
    /// How many requested names are not listed.
    pub(super) left_out: usize,
    /// The length of all listed names.
    bytes: usize,
}

impl AttributeNames {
    /// Lists all released names.
    pub(super) fn released<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut listed = Self { items: Vec::with_capacity(USUAL_BYTES), ..Self::default() };
        names.for_each(|name| put_item(&mut listed.items, name));
        listed
    }

    /// Lists requested names: at most 1 KiB, and only names that a user pool can have. Any other
    /// could be a `sub`, an email address or a part of a token that a caller put into the wrong
    /// field.
    pub(super) fn requested(query: &Query) -> Self {
        let mut listed = Self::default();
        for name in query.attributes.named() {
            let (is_known, name) = (name.is_known(), name.as_str());
            let bytes = listed.bytes + name.len();
            if is_known && name.len() <= MAX_NAME_BYTES && bytes <= MAX_REQUESTED_BYTES {
                listed.bytes = bytes;
                put_item(&mut listed.items, name);
            } else {
                listed.left_out += 1;
            }
        }
        if query.include_groups {
            put_item(&mut listed.items, "groups");
        }
        listed
    }
}

// The limit of AttributeType.Name in the API reference. A UUID has 36 characters.
const MAX_NAME_BYTES: usize = 32;
const MAX_REQUESTED_BYTES: usize = 1024;
// A dozen short names, so that the list seldom grows.
const USUAL_BYTES: usize = 128;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{attribute::Selection, freshness::FreshnessRequirement};

    #[test]
    fn requested_names_are_limited() {
        let names: Vec<String> = (0..100).map(|n| format!("custom:{n:025}")).collect();
        let requested = requested(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!((1000..=MAX_REQUESTED_BYTES).contains(&requested.bytes), "{}", requested.bytes);
        assert_eq!(requested.items.split(|byte| *byte == b',').count() + requested.left_out, 100);
        assert_eq!(requested.left_out, 68);
    }

    pub(in crate::audit) fn requested(names: &[&str]) -> AttributeNames {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        AttributeNames::requested(&Query {
            sub: None,
            pool: None,
            attributes: Selection::Only(names),
            include_groups: false,
            freshness: FreshnessRequirement::Any,
        })
    }
}
