//! Translates between the messages of `proto/` and the types of this crate.

mod admin;
mod batch;
mod encoded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod reply;
mod watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::{
    admin::{access_query, entry_info, erased, explanation, issued_until, token_to_revoke},
    batch::{batch, batch_reply},
    encoded::{Encoded, FRAME_HEADER_BYTES},
    reply::reply,
    watch::{watch_change, watch_checkpoint, watch_query},
};
use crate::{
    attribute::{ALWAYS_RELEASED, AttributeName, Selection},
    clock::TimePoint,
    freshness::{Freshness, FreshnessRequirement, Source, StaleReason},
    pool::PoolId,
    proto::{self, get_user_request},
    query::{InvalidQuery, Query, Target},
    user::{Sub, UserStatus},
};

/// Reads a request; the error names the first invalid field. Only a freshness requirement needs `now`.
pub fn query(
    message: &proto::GetUserRequest,
    now: impl FnOnce() -> TimePoint,
) -> Result<Query, InvalidQuery> {
    Ok(Query {
        sub: given(&message.sub).map(sub).transpose()?,
        pool: pool(&message.user_pool_id)?,
        attributes: selection(&message.attributes)?,
        include_groups: message.include_groups,
        freshness: freshness_requirement(message.freshness.as_ref(), now)?,
    })
}

/// Reads the user that an administrator's request names; the error names the first invalid field.
pub fn target(sub: &str, user_pool_id: &str) -> Result<Target, InvalidQuery> {
    Ok(Target { sub: self::sub(sub)?, pool: pool(user_pool_id)? })
}

fn sub(text: &str) -> Result<Sub, InvalidQuery> {
    text.parse().map_err(|_| InvalidQuery::Sub("sub".to_owned()))
}

fn pool(id: &str) -> Result<Option<PoolId>, InvalidQuery> {
    let invalid =
        |_| InvalidQuery::field("user_pool_id", "is not a user pool id such as eu-west-1_AbCdEfGhI");
    given(id).map(str::parse).transpose().map_err(invalid)
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn selection(names: &[String]) -> Result<Selection, InvalidQuery> {
    if names.is_empty() {
        return Ok(Selection::All);
    }
    // What every caller gets need not be selected.
    let is_selectable = |name: &AttributeName| !ALWAYS_RELEASED.contains(&name.as_str());
    Ok(Selection::Only(attribute_names(names)?.into_iter().filter(is_selectable).collect()))
}

fn attribute_names(names: &[String]) -> Result<Vec<AttributeName>, InvalidQuery> {
    if names.len() > MAX_ATTRIBUTES {
        return Err(InvalidQuery::field("attributes", "must be at most 100 names"));
    }
    let invalid = |n| move |_| InvalidQuery::field(format!("attributes[{n}]"), "is not an attribute name");
    names.iter().enumerate().map(|(n, name)| name.parse().map_err(invalid(n))).collect()
}

fn freshness_requirement(
    freshness: Option<&get_user_request::Freshness>,
    now: impl FnOnce() -> TimePoint,
) -> Result<FreshnessRequirement, InvalidQuery> {
    use get_user_request::Freshness::{MaxAge, NotOlderThan};
    let (requirement, field, problem) = match freshness {
        None => return Ok(FreshnessRequirement::Any),
        Some(MaxAge(age)) => {
            let requirement = age_from(*age).map(|age| FreshnessRequirement::max_age(age, now().boot));
            (requirement, "max_age", MAX_AGE_FORM)
        }
        Some(NotOlderThan(time)) => {
            let time = time_from(*time);
            let requirement = time.and_then(|time| FreshnessRequirement::not_older_than(time, now()));
            (requirement, "not_older_than", NOT_OLDER_THAN_FORM)
        }
    };
    requirement.ok_or_else(|| InvalidQuery::field(field, problem))
}

/// Checks protobuf's bounds of a `Duration`, without its negative half.
fn age_from(age: prost_types::Duration) -> Option<Duration> {
    let seconds = u64::try_from(age.seconds).ok().filter(|seconds| *seconds <= MAX_DURATION_SECONDS)?;
    Some(Duration::new(seconds, nanos(age.nanos)?))
}

/// Checks protobuf's bounds of a `Timestamp`. A time before 1970 becomes 1970.
fn time_from(time: prost_types::Timestamp) -> Option<SystemTime> {
    let nanos = nanos(time.nanos)?;
    if !TIMESTAMP_SECONDS.contains(&time.seconds) {
        return None;
    }
    Some(u64::try_from(time.seconds).map_or(UNIX_EPOCH, |seconds| UNIX_EPOCH + Duration::new(seconds, nanos)))
}

fn nanos(nanos: i32) -> Option<u32> {
    u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)
}

fn freshness(freshness: Freshness) -> proto::Freshness {
    let source = match freshness.source {
        Source::Cache => proto::Source::Cache,
        Source::Cognito => proto::Source::Cognito,
        Source::SharedCache => proto::Source::SharedCache,
    };
    proto::Freshness {
        source: source.into(),
        fetched_at: Some(freshness.began.system.into()),
        // The conversion fails only beyond protobuf's 10,000 years.
        age: freshness.age.try_into().ok(),
        stale_reason: stale_reason(freshness.stale_reason).into(),
    }
}

fn stale_reason(reason: Option<StaleReason>) -> proto::StaleReason {
    match reason {
        None => proto::StaleReason::Unspecified,
        Some(StaleReason::BudgetExhausted) => proto::StaleReason::BudgetExhausted,
        Some(StaleReason::UpstreamThrottled) => proto::StaleReason::UpstreamThrottled,
        Some(StaleReason::UpstreamUnavailable) => proto::StaleReason::UpstreamUnavailable,
    }
}

fn status(status: UserStatus) -> proto::UserStatus {
    match status {
        UserStatus::Archived => proto::UserStatus::Archived,
        UserStatus::Compromised => proto::UserStatus::Compromised,
        UserStatus::Confirmed => proto::UserStatus::Confirmed,
        UserStatus::ExternalProvider => proto::UserStatus::ExternalProvider,
        UserStatus::ForceChangePassword => proto::UserStatus::ForceChangePassword,
        UserStatus::ResetRequired => proto::UserStatus::ResetRequired,
        UserStatus::Unconfirmed => proto::UserStatus::Unconfirmed,
        UserStatus::Unknown => proto::UserStatus::Unknown,
        UserStatus::Unrecognised => proto::UserStatus::Unspecified,
    }
}

const MAX_AGE_FORM: &str = "must be 0 s to 10,000 years";
const NOT_OLDER_THAN_FORM: &str = "must be a valid time, at most 10 s ahead of this service's clock";
const MAX_ATTRIBUTES: usize = 100;
const MAX_DURATION_SECONDS: u64 = 315_576_000_000;
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

#[cfg(test)]
mod tests {
    use prost_types::{Duration as ProtoDuration, Timestamp};

    use super::*;

    #[tokio::test]
    async fn the_first_invalid_field_is_named() {
        let message = proto::GetUserRequest::default;
        let many = vec!["a".to_owned(); 101];
        let table = [
            (proto::GetUserRequest { sub: "a b".into(), ..message() }, InvalidQuery::Sub("sub".into())),
            (proto::GetUserRequest { user_pool_id: "x".into(), ..message() }, field("user_pool_id")),
            (proto::GetUserRequest { attributes: many, ..message() }, field("attributes")),
            (
                proto::GetUserRequest { attributes: vec!["a".into(), "b c".into()], ..message() },
                field("attributes[1]"),
            ),
            (aged(-1, 0), field("max_age")),
            (aged(0, -1), field("max_age")),
            (aged(0, 1_000_000_000), field("max_age")),
            (aged(315_576_000_001, 0), field("max_age")),
            (aged(i64::MAX, 0), field("max_age")),
            (since(253_402_300_800, 0), field("not_older_than")),
            (since(253_402_300_799, 0), field("not_older_than")),
            (since(0, -1), field("not_older_than")),
            (since(i64::MIN, 0), field("not_older_than")),
        ];
        for (message, expected) in table {
            let invalid = query(&message, TimePoint::now).unwrap_err();
            match (&invalid, &expected) {
                (InvalidQuery::Field { field, .. }, InvalidQuery::Field { field: expected, .. }) => {
                    assert_eq!(field, expected)
                }
                _ => assert_eq!(invalid, expected),
            }
        }
        for good in [
            message(),
            aged(0, 0),
            aged(315_576_000_000, 999_999_999),
            since(-62_135_596_800, 0),
            since(1, 0),
        ] {
            assert!(query(&good, TimePoint::now).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_empty_list_selects_everything_and_what_is_always_released_selects_nothing() {
        assert_eq!(selection(&[]), Ok(Selection::All));
        let only = selection(&["sub".into(), "status".into(), "email".into()]).unwrap();
        assert_eq!(only, Selection::Only(["email".parse().unwrap()].into()));
    }

    fn field(field: &str) -> InvalidQuery {
        InvalidQuery::field(field, "")
    }

    fn aged(seconds: i64, nanos: i32) -> proto::GetUserRequest {
        let freshness = get_user_request::Freshness::MaxAge(ProtoDuration { seconds, nanos });
        proto::GetUserRequest { freshness: Some(freshness), ..Default::default() }
    }

    fn since(seconds: i64, nanos: i32) -> proto::GetUserRequest {
        let freshness = get_user_request::Freshness::NotOlderThan(Timestamp { seconds, nanos });
        proto::GetUserRequest { freshness: Some(freshness), ..Default::default() }
    }
}
