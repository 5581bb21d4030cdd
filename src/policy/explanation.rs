//! Which rule releases or withholds what, for people who wonder.

use std::collections::BTreeSet;

use super::{
    AdminPermit, Denied, Policy,
    rule::{Reads, Rule},
};
use crate::{
    attribute::{ALWAYS_RELEASED, AttributeName, CREATED_AT, Selection, UPDATED_AT, USERNAME},
    query::AccessQuery,
};

/// What one caller would get for one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// Whether it may ask for this user by `sub` alone.
    pub subject_allowed: bool,
    /// What decides that: a key of the settings and its meaning, at most 128 characters.
    pub subject_rule: String,
    /// What becomes of each attribute, in the order asked for.
    pub attributes: Vec<Access>,
    /// Whether it may read groups.
    pub groups_allowed: bool,
}

/// What becomes of one attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The attribute.
    pub attribute: AttributeName,
    /// Whether it is released.
    pub released: bool,
    /// What decides that: a key of the settings and its meaning, at most 128 characters.
    pub rule: String,
}

impl Policy {
    /// Says what the rule of the caller that `query` names would release of the mandate's user, which for now is the same
    /// for every user; without a list of attributes, of all that any rule names.
    pub fn explain(&self, _: &AdminPermit, query: AccessQuery) -> Result<Explanation, Denied> {
        let rule = self.rules.iter().find(|rule| *rule.name == *query.caller);
        let rule = rule.ok_or(Denied::CallerNameUnknown)?;
        let attributes = if query.attributes.is_empty() { self.named() } else { query.attributes };
        let (subject_allowed, meaning) = match rule.reads {
            Reads::Any => (true, "\"any\""),
            Reads::Token => (false, "\"token\": only the user whose access token it presents"),
        };
        Ok(Explanation {
            subject_allowed,
            subject_rule: format!("{}.reads = {meaning}", rule.key),
            attributes: attributes.into_iter().map(|attribute| rule.access(attribute)).collect(),
            groups_allowed: rule.groups,
        })
    }

    /// The attributes that any rule names, and the pseudo-attributes.
    fn named(&self) -> Vec<AttributeName> {
        let pseudo = [USERNAME, CREATED_AT, UPDATED_AT].into_iter().filter_map(|name| name.parse().ok());
        let named = self.rules.iter().filter_map(|rule| match &*rule.attributes {
            Selection::All => None,
            Selection::Only(names) => Some(names.iter().cloned()),
        });
        let all: BTreeSet<_> = named.flatten().chain(pseudo).collect();
        all.into_iter().collect()
    }
}

impl Rule {
    fn access(&self, attribute: AttributeName) -> Access {
        let always = ALWAYS_RELEASED.contains(&attribute.as_str());
        let (released, meaning) = match &*self.attributes {
            _ if always => return Access { attribute, released: true, rule: "always released".into() },
            Selection::All => (true, "is \"*\""),
            Selection::Only(names) if names.contains(&attribute) => (true, "names it"),
            Selection::Only(_) => (false, "does not name it"),
        };
        Access { attribute, released, rule: format!("{}.attributes {meaning}", self.key) }
    }
}
