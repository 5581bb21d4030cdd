//! Names, values and selections of user attributes. `policy` decides which are released.

mod attributes;

use std::{borrow::Borrow, cmp::Ordering, collections::BTreeSet, str::FromStr, sync::Arc};

use thiserror::Error;

pub use self::attributes::Attributes;

/// The name of an attribute as Cognito spells it (`email`, `custom:plan`), or of a
/// pseudo-attribute: 1 to 64 visible characters, compared byte for byte.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AttributeName(Box<str>);

impl AttributeName {
    /// Returns the name as Cognito spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a user pool can have such an attribute (developer guide, "Working with user
    /// attributes"), or it is a pseudo-attribute or always released. The names of custom attributes
    /// begin with `custom:`, or with `dev:custom:` if only administrators may write them.
    pub fn is_known(&self) -> bool {
        let name = self.as_str();
        let own = name.strip_prefix("dev:").unwrap_or(name).strip_prefix("custom:");
        let other = [USERNAME, CREATED_AT, UPDATED_AT].into_iter().chain(ALWAYS_RELEASED);
        own.is_some_and(|own| !own.is_empty()) || STANDARD.split(' ').chain(other).any(|known| known == name)
    }
}

impl Borrow<str> for AttributeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttributeName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        let length = name.chars().count();
        let invisible = |c: char| c.is_whitespace() || c.is_control();
        if length == 0 || length > MAX_NAME_CHARACTERS || name.contains(invisible) {
            return Err(InvalidName);
        }
        Ok(Self(name.into()))
    }
}

/// The error for a text that is not an attribute name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not an attribute name; expected 1 to 64 characters without white space")]
pub struct InvalidName;

/// The value of an attribute, as Cognito returns it. Its `Debug` shows nothing.
#[derive(Clone, Eq, PartialEq)]
pub struct AttributeValue(Box<str>);

impl AttributeValue {
    /// Returns the value, which is personal data.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AttributeValue {
    fn from(value: String) -> Self {
        Self(value.into())
    }
}

redacted_debug!(AttributeValue);

/// A set of attributes: those that a request names, a rule releases, or a permit allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// All that the user has.
    All,
    /// Only these.
    Only(BTreeSet<AttributeName>),
}

impl Selection {
    /// Returns whether `name` is selected.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }

    /// Returns the selected names; empty if all are selected.
    pub fn named(&self) -> impl Iterator<Item = &AttributeName> {
        let names = match self {
            Self::All => None,
            Self::Only(names) => Some(names),
        };
        names.into_iter().flatten()
    }

    /// Returns the selected attributes of a user, in the order of their names.
    pub fn select<'a>(&'a self, attributes: &'a Attributes) -> impl Iterator<Item = (&'a str, &'a str)> {
        // Both are sorted, so this merges them with one comparison a step.
        let mut names = self.named().map(AttributeName::as_str).peekable();
        attributes.iter().filter(move |(name, _)| {
            loop {
                match names.peek().map(|chosen| (*chosen).cmp(name)) {
                    None => return matches!(self, Self::All),
                    Some(Ordering::Less) => names.next(),
                    Some(order) => return order == Ordering::Equal,
                };
            }
        })
    }

    /// Restricts a request to what this selection releases. A request for all gets all that is
    /// released. Fails with the names that are not released, sorted.
    pub fn narrow(self: &Arc<Self>, requested: Self) -> Result<Arc<Self>, Vec<AttributeName>> {
        let Self::Only(wanted) = requested else {
            return Ok(Arc::clone(self));
        };
        let refused: Vec<_> = wanted.iter().filter(|name| !self.contains(name.as_str())).cloned().collect();
        if refused.is_empty() { Ok(Arc::new(Self::Only(wanted))) } else { Err(refused) }
    }
}

/// The fields of every response, whatever the rule releases.
pub const ALWAYS_RELEASED: [&str; 4] = ["sub", "user_pool_id", "enabled", "status"];
/// The pseudo-attribute of the pool's username.
pub const USERNAME: &str = "username";
/// The pseudo-attribute of the time the user was created.
pub const CREATED_AT: &str = "created_at";
/// The pseudo-attribute of the time the user was last modified.
pub const UPDATED_AT: &str = "updated_at";

// OpenID Connect Core 1.0, section 5.1, and `identities`, which Cognito adds for federated users.
const STANDARD: &str = "address birthdate email email_verified family_name gender given_name identities locale \
    middle_name name nickname phone_number phone_number_verified picture preferred_username \
    profile sub website zoneinfo";
// Cognito allows 32 (API reference, AttributeType). Twice as many leave room if it allows more.
const MAX_NAME_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn names_are_bounded_and_visible() {
        for good in ["email", "custom:plan", "dev:custom:x", &"a".repeat(64)] {
            assert_eq!(good.parse::<AttributeName>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "a\u{0}", "\u{a0}", &"a".repeat(65)] {
            assert_eq!(bad.parse::<AttributeName>(), Err(InvalidName), "{bad:?}");
        }
    }

    #[test]
    fn an_attribute_that_no_pool_has_is_unknown() {
        let known = |name: &str| name.parse::<AttributeName>().unwrap().is_known();
        for name in
            ["email", "identities", "custom:plan", "dev:custom:plan", "username", "updated_at", "enabled"]
        {
            assert!(known(name), "{name}");
        }
        for name in ["emial", "Email", "custom:", "dev:", "dev:plan", "plan", "cognito:groups", "groups"] {
            assert!(!known(name), "{name}");
        }
    }

    #[test]
    fn a_request_is_restricted_to_what_is_released() {
        let released = Arc::new(only(&["email", "name"]));
        assert_eq!(released.narrow(Selection::All), Ok(Arc::clone(&released)));
        assert_eq!(released.narrow(only(&["name"])), Ok(only(&["name"]).into()));
        let refused = released.narrow(only(&["name", "phone_number", "custom:plan"])).unwrap_err();
        assert_eq!(
            refused.iter().map(AttributeName::as_str).collect::<Vec<_>>(),
            ["custom:plan", "phone_number"]
        );
        assert_eq!(Arc::new(Selection::All).narrow(only(&["x"])), Ok(only(&["x"]).into()));
    }

    #[test]
    fn only_the_selected_attributes_are_returned() {
        let has = ["custom:plan", "email", "email_verified", "name"];
        let value = |name: &&str| (name.parse().unwrap(), AttributeValue::from(format!("{name}'s")));
        let attributes = Attributes::from(has.iter().map(value).collect::<BTreeMap<AttributeName, _>>());
        let table: [(Selection, &[&str]); 8] = [
            (Selection::All, &has),
            (only(&[]), &[]),
            (only(&["email"]), &["email"]),
            (only(&["custom:plan", "name"]), &["custom:plan", "name"]),
            (only(&["a", "custom:plan", "f", "z"]), &["custom:plan"]),
            (only(&["emai", "email_verifie", "email_verified"]), &["email_verified"]),
            (only(&["zoneinfo"]), &[]),
            (only(&has), &has),
        ];
        for (selection, expected) in table {
            let chosen: Vec<_> = selection.select(&attributes).collect();
            let expected: Vec<_> = expected.iter().map(|name| (*name, format!("{name}'s"))).collect();
            assert!(
                chosen.iter().map(|(name, value)| (*name, (*value).to_owned())).eq(expected),
                "{selection:?}"
            );
        }
    }

    #[test]
    fn a_value_is_not_shown() {
        assert!(!format!("{:?}", AttributeValue::from("ada@example.com".to_owned())).contains("ada"));
    }

    fn only(names: &[&str]) -> Selection {
        Selection::Only(names.iter().map(|name| name.parse().unwrap()).collect())
    }
}
