//! Events that CloudTrail makes of calls to Amazon Cognito.
//!
//! Sources: AWS CloudTrail user guide, "CloudTrail record contents"; Amazon Cognito developer guide,
//! "Logging Amazon Cognito API calls with AWS CloudTrail".

use serde_json::Value;

use super::{
    change::{Change, ChangedPools, Ignored, OTHER, Reason, Subject},
    fields, names,
};
use crate::{pool::PoolId, user::Sub};

/// Reads the event of a call. `is_served` says whether the service serves a pool.
pub(super) fn read(event: &Value, is_served: impl Fn(&PoolId) -> bool) -> Result<Change, Ignored> {
    check_origin(event)?;
    let name = fields::text(event, "/detail/eventName").ok_or_else(Ignored::malformed)?;
    let known = names::find(name);
    let label = known.map_or(OTHER, |(label, _)| label);
    let ignored = |reason| Ignored { event: label, reason };
    if has_failed(event) {
        return Err(ignored(Reason::Failed));
    }
    let (label, kind) = known
        .filter(|_| !names::answers_challenge(name) || sets_first_password(event))
        .ok_or_else(|| ignored(Reason::Unknown(fields::operation(name).map(Into::into))))?;
    let subject = subject(label, event).ok_or_else(|| ignored(Reason::NoSubject))?;
    let pools = pools(event, is_served).map_err(ignored)?;
    let at = fields::text(event, "/detail/eventTime").and_then(fields::time);
    let at = at.ok_or_else(|| ignored(Reason::Malformed))?;
    Ok(Change { event: label, kind, subject, pools, at })
}

fn check_origin(event: &Value) -> Result<(), Ignored> {
    let is = |pointer: &str, expected: &str| fields::text(event, pointer) == Some(expected);
    let version = fields::text(event, "/detail/eventVersion");
    // Within a major version, CloudTrail only adds fields.
    let readable = version.is_none_or(|version| version.split('.').next() == Some("1"));
    if is("/source", "aws.cognito-idp") && is("/detail/eventSource", "cognito-idp.amazonaws.com") && readable
    {
        Ok(())
    } else {
        Err(Ignored::foreign())
    }
}

/// Some events of the hosted login have an empty `errorCode` though the call succeeded.
fn has_failed(event: &Value) -> bool {
    event.pointer("/detail/errorCode").is_some_and(|code| !code.is_null() && code.as_str() != Some(""))
}

fn sets_first_password(event: &Value) -> bool {
    fields::text(event, "/detail/requestParameters/challengeName") == Some("NEW_PASSWORD_REQUIRED")
}

/// Finds the user in the three places that AWS's samples have it in. A username is no substitute:
/// it may be the `sub` of another user.
fn subject(event_name: &str, event: &Value) -> Option<Subject> {
    if event_name == names::DELETE_GROUP {
        return Some(Subject::GroupMembers);
    }
    let places = [
        "/detail/additionalEventData/sub",
        "/detail/additionalEventData/requestParameters/sub/0",
        "/detail/responseElements/userSub",
    ];
    let sub = places.into_iter().find_map(|place| fields::text(event, place))?;
    sub.parse::<Sub>().ok().map(Subject::User)
}

fn pools(event: &Value, is_served: impl Fn(&PoolId) -> bool) -> Result<ChangedPools, Reason> {
    let named = ["/detail/requestParameters/userPoolId", "/detail/additionalEventData/userPoolId"];
    let Some(id) = named.into_iter().find_map(|place| fields::text(event, place)) else {
        let region = fields::text(event, "/detail/awsRegion").and_then(fields::region);
        return region.map(|region| ChangedPools::OfRegion(region.into())).ok_or(Reason::Malformed);
    };
    id.parse().ok().filter(is_served).map(ChangedPools::One).ok_or(Reason::Foreign)
}
