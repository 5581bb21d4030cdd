//! The messages of the `AdminService`.

use super::{MAX_ATTRIBUTES, proto, target};
use crate::{
    policy::{Access, Explanation},
    query::{AccessQuery, Invalid, Target},
};

/// Reads whom and what an administrator asks about, or names the first field that is not valid.
pub fn access_query(message: &proto::ExplainAccessRequest) -> Result<(Target, AccessQuery), Invalid> {
    let target = target(&message.sub, &message.user_pool_id)?;
    if !(1..=MAX_CALLER_CHARACTERS).contains(&message.caller.chars().count()) {
        return Err(Invalid::field("caller", "must be 1 to 64 characters"));
    }
    if message.attributes.len() > MAX_ATTRIBUTES {
        return Err(Invalid::field("attributes", "must be at most 100 names"));
    }
    let invalid = |n| move |_| Invalid::field(format!("attributes[{n}]"), "is no attribute name");
    let names = message.attributes.iter().enumerate();
    let attributes = names.map(|(n, name)| name.parse().map_err(invalid(n))).collect::<Result<_, _>>()?;
    Ok((target, AccessQuery { caller: message.caller.clone(), attributes }))
}

/// Puts an explanation into an answer.
pub fn explanation(explanation: Explanation) -> proto::ExplainAccessResponse {
    let access = |Access { attribute, released, rule }| proto::AttributeAccess {
        attribute: attribute.as_str().to_owned(),
        released,
        rule,
    };
    proto::ExplainAccessResponse {
        subject_allowed: explanation.subject_allowed,
        subject_rule: explanation.subject_rule,
        attributes: explanation.attributes.into_iter().map(access).collect(),
        groups_allowed: explanation.groups_allowed,
    }
}

const MAX_CALLER_CHARACTERS: usize = 64;
