//! The answers that tell about users, written straight from what may leave: each value is copied once, into the bytes of
//! its message.

use std::fmt;

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{
        DecodeContext, WireType, bool, encode_key, encode_varint, encoded_len_varint, int32, key_len,
        message, skip_field,
    },
};
use prost_types::Timestamp;

use super::{freshness, status};
use crate::{policy::Disclosure, user::Groups};

/// A message that is to be sent, encoded; its `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Encoded(pub(super) Vec<u8>);

/// Puts a disclosure into a `GetUserResponse`.
pub fn reply(disclosure: &Disclosure) -> Encoded {
    let user = user(disclosure);
    let mut reply = Vec::with_capacity(user.len() + FRESHNESS_BYTES);
    put_bytes(1, &user, &mut reply);
    message::encode(2, &freshness(disclosure.freshness()), &mut reply);
    Encoded(reply)
}

/// A `User`, without the fields that say nothing, as proto3 has it.
fn user(disclosure: &Disclosure) -> Vec<u8> {
    let mut user = Vec::with_capacity(USER_BYTES);
    put_text(1, disclosure.sub().as_str(), &mut user);
    put_text(2, disclosure.pool().as_str(), &mut user);
    if let Some(username) = disclosure.username() {
        put_text(3, username.as_str(), &mut user);
    }
    for (name, value) in disclosure.attributes() {
        put_pair(4, name, value, &mut user);
    }
    let (status, enabled) = (i32::from(status(disclosure.account())), disclosure.enabled());
    if status != 0 {
        int32::encode(5, &status, &mut user);
    }
    if enabled {
        bool::encode(6, &enabled, &mut user);
    }
    for (field, time) in [(7, disclosure.created_at()), (8, disclosure.updated_at())] {
        if let Some(time) = time {
            message::encode(field, &Timestamp::from(time), &mut user);
        }
    }
    for name in disclosure.groups().into_iter().flat_map(Groups::names) {
        put_text(9, name, &mut user);
    }
    user
}

/// An entry of a map from text to text.
fn put_pair(field: u32, key: &str, value: &str, message: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, message);
    encode_varint(length(field_bytes(1, key) + field_bytes(2, value)), message);
    put_text(1, key, message);
    put_text(2, value, message);
}

fn put_text(field: u32, text: &str, message: &mut Vec<u8>) {
    put_bytes(field, text.as_bytes(), message);
}

/// A field that is text, or a message that is encoded.
pub(super) fn put_bytes(field: u32, bytes: &[u8], message: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, message);
    encode_varint(length(bytes.len()), message);
    message.extend_from_slice(bytes);
}

fn field_bytes(field: u32, text: &str) -> usize {
    key_len(field) + encoded_len_varint(length(text.len())) + text.len()
}

fn length(bytes: usize) -> u64 {
    bytes.try_into().unwrap_or(u64::MAX)
}

/// It is sent only: who receives one has the generated type.
impl Message for Encoded {
    fn encode_raw(&self, bytes: &mut impl BufMut) {
        bytes.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn merge_field(
        &mut self,
        field: u32,
        wire_type: WireType,
        bytes: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, field, bytes, context)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded(redacted)")
    }
}

// Of a user of ten short attributes, so that it seldom grows.
const USER_BYTES: usize = 512;
const FRESHNESS_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::Arc,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{
        attribute::{AttributeName, AttributeValue, Selection},
        config::{Config, Faults, PoolSettings},
        freshness::{Freshness, Source, StaleReason},
        pool::{Pool, Pools},
        proto,
        user::{Account, User},
    };

    #[test]
    fn a_reply_reads_as_the_message_of_the_contract() {
        let long = "é".repeat(40_000);
        let everything = user(&[("custom:plan", "gold"), ("email", "ada@example.com"), ("name", &long)]);
        let bare = User { enabled: false, account: Account::Unrecognised, created_at: None, ..user(&[]) };
        let groups = Groups::try_from(vec!["a".to_owned(), "b".repeat(128)]).unwrap();
        let pseudo = only(&["username", "created_at", "updated_at", "email"]);
        let table = [
            (everything.clone(), Selection::Everything, None),
            (everything.clone(), Selection::Everything, Some(groups)),
            (everything.clone(), only(&["name"]), Some(Groups::default())),
            (everything.clone(), only(&[]), None),
            (everything, pseudo, None),
            (user(&[("email", ""), ("name", "\0")]), Selection::Everything, None),
            (bare, Selection::Everything, None),
        ];
        for (user, allowed, groups) in table {
            for stale_reason in [None, Some(StaleReason::UpstreamThrottled)] {
                let freshness = freshness(stale_reason);
                let disclosure =
                    Disclosure::for_test(user.clone(), pool(), allowed.clone(), groups.clone(), freshness);
                let bytes = reply(&disclosure).encode_to_vec();
                assert_eq!(
                    proto::GetUserResponse::decode(&*bytes).unwrap(),
                    told(&disclosure),
                    "{allowed:?}"
                );
            }
        }
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
            status: status(disclosure.account()).into(),
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
            account: Account::Confirmed,
            enabled: true,
            created_at: Some(SystemTime::UNIX_EPOCH),
            updated_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_614_746_007)),
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
        Arc::clone(Pools::read(&config, &mut Faults::collector(&config)).unwrap().only().unwrap())
    }

    fn freshness(stale_reason: Option<StaleReason>) -> Freshness {
        let fetched_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
        Freshness { source: Source::Cache, fetched_at, age: Duration::from_millis(1234), stale_reason }
    }
}
