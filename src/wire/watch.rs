//! The messages of `WatchUsers`.

use std::{collections::BTreeSet, time::Duration};

use super::{age_from, pool};
use crate::{
    changes::{Change, ChangeKind, ChangeKinds, CheckpointInfo, Delivery},
    proto::{self, watch_users_response::Event},
    query::{InvalidQuery, WatchQuery},
    telemetry::metrics::Label as _,
    user::Sub,
};

/// Reads a `WatchUsersRequest`; the error names the first invalid field.
pub fn watch_query(message: &proto::WatchUsersRequest) -> Result<WatchQuery, InvalidQuery> {
    Ok(WatchQuery {
        subs: subs(&message.subs)?,
        pool: pool(&message.user_pool_id)?,
        kinds: kinds(&message.kinds)?,
        resume_token: message.resume_token.clone(),
        checkpoint_interval: interval(message.checkpoint_interval.as_ref())?,
    })
}

/// Makes the message of a change.
pub fn watch_change(delivery: Delivery) -> proto::WatchUsersResponse {
    let Delivery { pool, sub, change, resume_token } = delivery;
    let Change { kinds, changed_at, seen_at, tokens_issued_until } = change;
    let change = proto::UserChange {
        sub: sub.as_str().to_owned(),
        user_pool_id: pool.as_str().to_owned(),
        kinds: kinds.iter().filter_map(|kind| i32::try_from(kind.number()).ok()).collect(),
        changed_at: changed_at.map(Into::into),
        seen_at: Some(seen_at.into()),
        tokens_issued_until: tokens_issued_until.map(Into::into),
    };
    proto::WatchUsersResponse { event: Some(Event::Change(change)), resume_token }
}

/// Makes the message of a checkpoint.
pub fn watch_checkpoint(checkpoint: CheckpointInfo) -> proto::WatchUsersResponse {
    let CheckpointInfo { seen_through, source_healthy, source_lag, resume_token } = checkpoint;
    let checkpoint = proto::Checkpoint {
        seen_through: Some(seen_through.into()),
        source_healthy,
        source_lag: source_lag.and_then(|lag| lag.try_into().ok()),
    };
    proto::WatchUsersResponse { event: Some(Event::Checkpoint(checkpoint)), resume_token }
}

fn subs(texts: &[String]) -> Result<Vec<Sub>, InvalidQuery> {
    if texts.len() > MAX_SUBS {
        return Err(InvalidQuery::field("subs", "must be at most 1,000"));
    }
    let sub = |(n, text): (usize, &String)| text.parse().map_err(|_| InvalidQuery::Sub(format!("subs[{n}]")));
    let subs: BTreeSet<Sub> = texts.iter().enumerate().map(sub).collect::<Result<_, _>>()?;
    Ok(subs.into_iter().collect())
}

fn kinds(numbers: &[i32]) -> Result<ChangeKinds, InvalidQuery> {
    if numbers.len() > MAX_KINDS {
        return Err(InvalidQuery::field("kinds", "must be at most 16"));
    }
    let kind = |(n, number): (usize, &i32)| {
        let known = ChangeKind::ALL.iter().map(|(kind, _)| *kind);
        let mut found = known.filter(|kind| i32::try_from(kind.number()) == Ok(*number));
        found.next().ok_or_else(|| InvalidQuery::field(format!("kinds[{n}]"), "is not a kind of change"))
    };
    let kinds = numbers.iter().enumerate().map(kind).collect::<Result<Vec<_>, _>>()?;
    Ok(if kinds.is_empty() { ChangeKinds::ALL } else { ChangeKinds::of(kinds) })
}

fn interval(given: Option<&prost_types::Duration>) -> Result<Duration, InvalidQuery> {
    let Some(given) = given else { return Ok(USUAL_INTERVAL) };
    let interval = age_from(*given).filter(|interval| (MIN_INTERVAL..=MAX_INTERVAL).contains(interval));
    interval.ok_or_else(|| InvalidQuery::field("checkpoint_interval", "must be 10 s to 5 min"))
}

const MAX_SUBS: usize = 1_000;
const MAX_KINDS: usize = 16;
const USUAL_INTERVAL: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(10);
const MAX_INTERVAL: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_request_is_read_or_its_first_invalid_field_is_named() {
        let default = proto::WatchUsersRequest::default;
        let every = |seconds, nanos| proto::WatchUsersRequest {
            checkpoint_interval: Some(prost_types::Duration { seconds, nanos }),
            ..default()
        };
        let subs = |subs: &[&str]| subs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let table = [
            (proto::WatchUsersRequest { subs: vec!["a".into(); 1_001], ..default() }, "subs"),
            (proto::WatchUsersRequest { subs: subs(&["a", "b c"]), ..default() }, "subs[1]"),
            (proto::WatchUsersRequest { user_pool_id: "x".into(), ..default() }, "user_pool_id"),
            (proto::WatchUsersRequest { kinds: vec![1; 17], ..default() }, "kinds"),
            (proto::WatchUsersRequest { kinds: vec![1, 0], ..default() }, "kinds[1]"),
            (proto::WatchUsersRequest { kinds: vec![10], ..default() }, "kinds[0]"),
            (every(9, 999_999_999), "checkpoint_interval"),
            (every(300, 1), "checkpoint_interval"),
            (every(-30, 0), "checkpoint_interval"),
        ];
        for (message, expected) in table {
            let named = match watch_query(&message) {
                Err(InvalidQuery::Field { field, .. } | InvalidQuery::Sub(field)) => field,
                Ok(_) => "none".to_owned(),
            };
            assert_eq!(named, expected);
        }
        let usual = watch_query(&default()).unwrap();
        assert_eq!((usual.kinds, usual.checkpoint_interval), (ChangeKinds::ALL, USUAL_INTERVAL));
        for good in [every(10, 0), every(300, 0)] {
            assert!(watch_query(&good).is_ok());
        }
        let several =
            proto::WatchUsersRequest { subs: subs(&["b", "a", "b"]), kinds: vec![8, 1, 8], ..default() };
        let several = watch_query(&several).unwrap();
        assert_eq!(several.subs.iter().map(Sub::as_str).collect::<Vec<_>>(), ["a", "b"]);
        let kinds = ChangeKinds::of([ChangeKind::Attributes, ChangeKind::SignedOut]);
        assert_eq!(several.kinds, kinds);
    }

    #[test]
    fn a_change_is_written_without_values() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let change = Change {
            kinds: ChangeKinds::of([ChangeKind::SignedOut, ChangeKind::Disabled]),
            changed_at: Some(at(5)),
            seen_at: at(7),
            tokens_issued_until: None,
        };
        let (pool, sub) = ("eu-west-1_A".parse().unwrap(), "ada".parse().unwrap());
        let message = watch_change(Delivery { pool, sub, change, resume_token: "t".into() });
        let Some(Event::Change(written)) = message.event else { panic!("no change") };
        assert_eq!(
            written.kinds().collect::<Vec<_>>(),
            [proto::ChangeKind::Disabled, proto::ChangeKind::SignedOut]
        );
        assert_eq!((&*written.sub, &*written.user_pool_id), ("ada", "eu-west-1_A"));
        let times = (written.changed_at, written.seen_at, written.tokens_issued_until);
        assert_eq!(times, (Some(at(5).into()), Some(at(7).into()), None));
    }
}
