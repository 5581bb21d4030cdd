//! The reply to `GetUser`.
//!
//! Field numbers are written by hand, for the reason that [`super::encoded`] gives. A test below
//! decodes every reply with the generated types, so a number that differs from `proto/` fails it.

use prost::encoding;
use prost_types::Timestamp;

use super::{
    encoded::{Encoded, put_message, put_pair, put_text},
    freshness, status,
};
use crate::{policy::Disclosure, user::Groups};

/// Encodes a `GetUserResponse`.
pub fn reply(disclosure: &Disclosure) -> Encoded {
    Encoded::write(REPLY_BYTES, |reply| put_reply(disclosure, reply))
}

/// Appends the fields of a `GetUserResponse`.
pub(super) fn put_reply(disclosure: &Disclosure, reply: &mut Vec<u8>) {
    put_message(1, reply, |user| put_user(disclosure, user));
    encoding::message::encode(2, &freshness(disclosure.freshness()), reply);
}

/// Appends the fields of a `User` except those with default values, which proto3 leaves out.
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

/// The size of a `GetUserResponse` with ten short attributes, in bytes.
pub(super) const REPLY_BYTES: usize = 576;

#[cfg(test)]
pub(super) mod tests;
