use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message as _;

use super::{super::fuzzing::expected, *};
use crate::{
    attribute::{AttributeName, AttributeValue, Selection},
    clock::{BootTime, TimePoint},
    freshness::{Freshness, Source, StaleReason},
    pool::Pool,
    proto,
    user::{User, UserStatus},
};

#[test]
fn a_reply_decodes_as_the_generated_type() {
    let long = "é".repeat(40_000);
    let everything = user(&[("custom:plan", "gold"), ("email", "ada@example.com"), ("name", &long)]);
    let bare = User { enabled: false, status: UserStatus::Unrecognised, created_at: None, ..user(&[]) };
    let groups = Groups::try_from(vec!["a".to_owned(), "b".repeat(128)]).unwrap();
    let pseudo = only(&["username", "created_at", "updated_at", "email"]);
    let table = [
        (everything.clone(), Selection::All, None),
        (everything.clone(), Selection::All, Some(groups)),
        (everything.clone(), only(&["name"]), Some(Groups::default())),
        (everything.clone(), only(&[]), None),
        (everything, pseudo, None),
        (user(&[("email", ""), ("name", "\0")]), Selection::All, None),
        (user(&[("email", &"v".repeat(114)), ("name", &"v".repeat(116))]), Selection::All, None),
        (user(&[("email", &"v".repeat(127)), ("name", &"v".repeat(128))]), Selection::All, None),
        (bare, Selection::All, None),
    ];
    for (user, allowed, groups) in table {
        for stale_reason in [None, Some(StaleReason::UpstreamThrottled)] {
            let freshness = freshness(stale_reason);
            let disclosure =
                Disclosure::for_test(user.clone(), pool(), allowed.clone(), groups.clone(), freshness);
            let bytes = reply(&disclosure);
            assert_eq!(
                proto::GetUserResponse::decode(bytes.message()).unwrap(),
                expected(&disclosure),
                "{allowed:?}"
            );
        }
    }
}

pub(in crate::wire) fn disclosed(sub: &str, value: &str) -> Disclosure {
    let user = User { sub: sub.parse().unwrap(), ..user(&[("name", value)]) };
    Disclosure::for_test(user, pool(), Selection::All, None, freshness(None))
}

fn user(attributes: &[(&str, &str)]) -> User {
    let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), (*value).to_owned().into());
    User {
        sub: "ada00000-5a4d-4b0c-8000-000000000001".parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: attributes.iter().map(pair).collect::<BTreeMap<AttributeName, AttributeValue>>().into(),
        status: UserStatus::Confirmed,
        enabled: true,
        created_at: crate::unix_time::UnixTime::new(SystemTime::UNIX_EPOCH),
        updated_at: crate::unix_time::UnixTime::new(
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_614_746_007),
        ),
    }
}

fn only(names: &[&str]) -> Selection {
    Selection::Only(names.iter().map(|name| name.parse().unwrap()).collect())
}

fn pool() -> Arc<Pool> {
    Pool::for_test("eu-west-1_A")
}

fn freshness(stale_reason: Option<StaleReason>) -> Freshness {
    let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
    let began = TimePoint { system: fetched_at, boot: BootTime::now() };
    Freshness { source: Source::Cache, began, age: Duration::from_millis(1234), stale_reason }
}
