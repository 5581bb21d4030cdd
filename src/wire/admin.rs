//! The messages of the `AdminService`.

use std::time::{Duration, SystemTime};

use super::{attribute_names, freshness, time_from};
use crate::{
    policy::{Access, Explanation},
    proto::{self, revoke_tokens_request::Tokens},
    query::{AccessQuery, InvalidQuery},
    users::{EntryInfo, EntryState, Invalidated, SharedEntryInfo, SharedState},
};

/// Makes the reply to `InspectUser`.
pub fn entry_info(entry_info: EntryInfo) -> proto::InspectUserResponse {
    let state = match entry_info.state {
        EntryState::Absent => proto::EntryState::Absent,
        EntryState::Fresh => proto::EntryState::Fresh,
        EntryState::NotCached => proto::EntryState::Unspecified,
        EntryState::Stale => proto::EntryState::Stale,
    };
    proto::InspectUserResponse {
        state: state.into(),
        freshness: entry_info.freshness.map(freshness),
        attribute_names: entry_info.attributes,
        groups_held: entry_info.groups,
        size_bytes: i64::try_from(entry_info.bytes).unwrap_or(i64::MAX),
        fetch_in_flight: entry_info.in_flight,
        shared_entry: entry_info.shared.map(shared_entry),
    }
}

fn shared_entry(entry_info: SharedEntryInfo) -> proto::SharedEntry {
    use proto::SharedEntryState as State;
    let state = match entry_info.state {
        SharedState::Unavailable => State::Unavailable,
        SharedState::NotCached => State::NotCached,
        SharedState::Fetching => State::Fetching,
        SharedState::Cached => State::Cached,
        SharedState::Expired => State::Expired,
        SharedState::Absent => State::Absent,
        SharedState::Unreadable => State::Unreadable,
    };
    proto::SharedEntry { state: state.into(), freshness: entry_info.freshness.map(freshness) }
}

/// Makes the reply to `EraseUser`, the receipt of what was removed.
pub fn erased(receipt_id: &str, at: SystemTime, erased: Invalidated) -> proto::EraseUserResponse {
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    proto::EraseUserResponse {
        receipt_id: receipt_id.to_owned(),
        erased_at: Some(at.into()),
        entries: erased.entry.into(),
        absences: erased.absence.into(),
        verdicts: number(erased.tokens),
        fetches: number(erased.fetches),
        reached_all_replicas: erased.reached_all_replicas,
    }
}

/// Returns the token whose family a request revokes, if it names one.
pub fn token_to_revoke(message: &proto::RevokeTokensRequest) -> Option<&str> {
    match &message.tokens {
        Some(Tokens::AccessToken(token)) => Some(token),
        Some(Tokens::IssuedUntil(_)) | None => None,
    }
}

/// Reads until when the tokens were issued that a request revokes. A time before 1970 becomes 1970.
pub fn issued_until(
    message: &proto::RevokeTokensRequest,
    now: SystemTime,
) -> Result<SystemTime, InvalidQuery> {
    let Some(Tokens::IssuedUntil(time)) = &message.tokens else { return Ok(now) };
    // A later time would refuse tokens that are still to be issued.
    let time = time_from(*time).filter(|time| *time <= now + MAX_AHEAD);
    time.ok_or_else(|| InvalidQuery::field("issued_until", "must be a time at most 10 s in the future"))
}

/// Reads an `ExplainAccessRequest`, except for the user that it names.
pub fn access_query(message: &proto::ExplainAccessRequest) -> Result<AccessQuery, InvalidQuery> {
    if !(1..=MAX_CALLER_CHARACTERS).contains(&message.caller.chars().count()) {
        return Err(InvalidQuery::field("caller", "must be 1 to 64 characters"));
    }
    let attributes = attribute_names(&message.attributes)?;
    Ok(AccessQuery { caller: message.caller.clone(), attributes })
}

/// Makes the reply to `ExplainAccess`.
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
const MAX_AHEAD: Duration = Duration::from_secs(10);
