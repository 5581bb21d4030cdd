//! The names of attributes that a record lists.

use super::line::put_item;
use crate::{attribute::AttributeName, query::Query};

/// AttributeNames of attributes, as items of a JSON list.
#[derive(Debug, Default)]
pub(super) struct AttributeNames {
    items: Vec<u8>,
    /// Of the names that a caller wrote.
    bytes: usize,
    left_out: usize,
}

impl AttributeNames {
    /// Lists names that were released, all of them.
    pub(super) fn released<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut listed = Self { items: Vec::with_capacity(USUAL_BYTES), ..Self::default() };
        names.for_each(|name| put_item(&mut listed.items, name));
        listed
    }

    /// Lists names that a caller wrote, so far as a pool can have such an attribute, and 1 KiB of them at most: into the
    /// others somebody may have written a `sub`, an address or a part of a token.
    pub(super) fn asked(query: &Query) -> Self {
        let mut listed = Self::default();
        for name in query.attributes.named() {
            listed.push_known(name);
        }
        if query.include_groups {
            put_item(&mut listed.items, "groups");
        }
        listed
    }

    /// Returns them as [`put_item`] puts them.
    pub(super) fn items(&self) -> &[u8] {
        &self.items
    }

    /// Returns how many more were asked for that are not listed.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    fn push_known(&mut self, name: &AttributeName) {
        let (is_known, name) = (name.is_known(), name.as_str());
        if is_known && name.len() <= MAX_NAME_BYTES && self.bytes + name.len() <= MAX_ASKED_BYTES {
            self.bytes += name.len();
            put_item(&mut self.items, name);
        } else {
            self.left_out += 1;
        }
    }
}

// AttributeType.Name, API reference; a UUID has 36.
const MAX_NAME_BYTES: usize = 32;
const MAX_ASKED_BYTES: usize = 1024;
// Of a dozen short names, so that it seldom grows.
const USUAL_BYTES: usize = 128;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{attribute::Selection, freshness::Demand};

    #[test]
    fn what_a_caller_wrote_is_bounded() {
        let names: Vec<String> = (0..100).map(|n| format!("custom:{n:025}")).collect();
        let asked = asked(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!((1000..=MAX_ASKED_BYTES).contains(&asked.bytes), "{}", asked.bytes);
        assert_eq!(asked.items.split(|byte| *byte == b',').count() + asked.left_out, 100);
        assert_eq!(asked.left_out, 68);
    }

    pub(in crate::audit) fn asked(names: &[&str]) -> AttributeNames {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        AttributeNames::asked(&Query {
            sub: None,
            pool: None,
            attributes: Selection::Only(names),
            include_groups: false,
            demand: Demand::ANY,
        })
    }
}
