//! Which rule releases or withholds what, for `ExplainAccess`.

use std::collections::BTreeSet;

use super::{AdminPermit, Denied, Policy, rule::Rule};
use crate::{
    attribute::{ALWAYS_RELEASED, AttributeName, CREATED_AT, Selection, UPDATED_AT, USERNAME},
    config::Reads,
    query::AccessQuery,
};

/// What one caller would get for one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// Whether it may read the user by `sub` alone.
    pub subject_allowed: bool,
    /// The setting that decides it, and what the setting means: at most 128 characters.
    pub subject_rule: String,
    /// Whether each attribute is released, in the requested order.
    pub attributes: Vec<Access>,
    /// Whether it may read the user's groups.
    pub groups_allowed: bool,
}

/// Whether one attribute is released, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The attribute.
    pub attribute: AttributeName,
    /// Whether it is released.
    pub released: bool,
    /// The setting that decides it, and what the setting means: at most 128 characters.
    pub rule: String,
}

impl Policy {
    /// Explains the rule of the caller named in `query`, which is the same for every user. If no
    /// attributes are requested, it explains all that any rule names.
    pub fn explain(&self, _: &AdminPermit, query: AccessQuery) -> Result<Explanation, Denied> {
        let rule = self.rules.iter().find(|rule| *rule.name == *query.caller);
        let rule = rule.ok_or(Denied::CallerNameUnknown)?;
        let attributes = if query.attributes.is_empty() { self.attribute_names() } else { query.attributes };
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

    /// Returns the attributes that any rule names, and the pseudo-attributes.
    fn attribute_names(&self) -> Vec<AttributeName> {
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
