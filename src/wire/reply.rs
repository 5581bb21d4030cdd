//! The answer to `GetUser`.

use prost::encoding;
use prost_types::Timestamp;

use super::{
    encoded::{Encoded, put_message, put_pair, put_text},
    freshness, status,
};
use crate::{policy::Disclosure, user::Groups};

/// Puts a disclosure into a `GetUserResponse`.
pub fn reply(disclosure: &Disclosure) -> Encoded {
    Encoded::write(REPLY_BYTES, |reply| put_reply(disclosure, reply))
}

/// A `GetUserResponse`.
pub(super) fn put_reply(disclosure: &Disclosure, reply: &mut Vec<u8>) {
    put_message(1, reply, |user| put_user(disclosure, user));
    encoding::message::encode(2, &freshness(disclosure.freshness()), reply);
}

/// A `User`, without the fields that say nothing, as proto3 has it.
fn put_user(disclosure: &Disclosure, user: &mut Vec<u8>) {
    put_text(1, disclosure.sub().as_str(), user);
    put_text(2, disclosure.pool().as_str(), user);
    if let Some(username) = disclosure.username() {
        put_text(3, username.as_str(), user);
    }
    for (name, value) in disclosure.attributes() {
        put_pair(4, name, value, user);
    }
    let (status, enabled) = (i32::from(status(disclosure.status())), disclosure.enabled());
    if status != 0 {
        encoding::int32::encode(5, &status, user);
    }
    if enabled {
        encoding::bool::encode(6, &enabled, user);
    }
    for (field, time) in [(7, disclosure.created_at()), (8, disclosure.updated_at())] {
        if let Some(time) = time {
            encoding::message::encode(field, &Timestamp::from(time), user);
        }
    }
    for name in disclosure.groups().into_iter().flat_map(Groups::names) {
        put_text(9, name, user);
    }
}

/// What a `GetUserResponse` with ten short attributes takes, in bytes.
pub(super) const REPLY_BYTES: usize = 576;

#[cfg(test)]
pub(super) mod tests {
    use std::{
        collections::BTreeMap,
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use prost::Message as _;

    use super::*;
    use crate::{
        attribute::{AttributeName, AttributeValue, Selection},
        config::{Config, ErrorCollector, PoolSettings},
        freshness::{Freshness, Source, StaleReason},
        pool::{Pool, Pools},
        proto,
        user::{User, UserStatus},
    };

    #[test]
    fn a_reply_reads_as_the_message_of_the_contract() {
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
                    told(&disclosure),
                    "{allowed:?}"
                );
            }
        }
    }

    pub(in crate::wire) fn disclosed(sub: &str, value: &str) -> Disclosure {
        let user = User { sub: sub.parse().unwrap(), ..user(&[("name", value)]) };
        Disclosure::for_test(user, pool(), Selection::All, None, freshness(None))
    }

    /// The same, field by field.
    fn told(disclosure: &Disclosure) -> proto::GetUserResponse {
        let text = |text: &str| text.to_owned();
        let attributes = disclosure.attributes().map(|(name, value)| (text(name), text(value)));
        let user = proto::User {
            sub: text(disclosure.sub().as_str()),
            user_pool_id: text(disclosure.pool().as_str()),
            username: disclosure.username().map(|name| text(name.as_str())).unwrap_or_default(),
            attributes: attributes.collect(),
            status: status(disclosure.status()).into(),
            enabled: disclosure.enabled(),
            created_at: disclosure.created_at().map(Into::into),
            updated_at: disclosure.updated_at().map(Into::into),
            groups: disclosure.groups().iter().flat_map(|groups| groups.names()).map(text).collect(),
        };
        let freshness = super::freshness(disclosure.freshness());
        proto::GetUserResponse { user: Some(user), freshness: Some(freshness) }
    }

    fn user(attributes: &[(&str, &str)]) -> User {
        let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), (*value).to_owned().into());
        User {
            sub: "ada00000-5a4d-4b0c-8000-000000000001".parse().unwrap(),
            username: "ada".parse().unwrap(),
            attributes: attributes
                .iter()
                .map(pair)
                .collect::<BTreeMap<AttributeName, AttributeValue>>()
                .into(),
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
        let settings = PoolSettings {
            id: "eu-west-1_A".into(),
            app_clients: vec!["client1".into()],
            ..Default::default()
        };
        let config = Config { pools: vec![settings], ..Config::default() };
        Arc::clone(Pools::read(&config, &mut ErrorCollector::new(&config)).unwrap().only().unwrap())
    }

    fn freshness(stale_reason: Option<StaleReason>) -> Freshness {
        let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
        Freshness { source: Source::Cache, fetched_at, age: Duration::from_millis(1234), stale_reason }
    }
}
