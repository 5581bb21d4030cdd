//! The target `shared_entry`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use prost::Message as _;

use super::{
    super::super::cache::{EntryKind, Key},
    Content, from_message,
    stored::{self, entry},
    to_message,
};
use crate::oracle::Input;

/// An entry of the store is read as an entry of its kind and user only, with valid names, and is the
/// same after it is written and read again.
///
/// The first byte of the input chooses the kind that is looked up.
pub(crate) fn shared_entry(input: &[u8]) {
    let mut input = Input::new(input);
    let kind = [EntryKind::Profile, EntryKind::Groups][usize::from(input.byte() % 2)];
    let key = Key { pool: "eu-west-1_A".parse().unwrap(), sub: "ada".parse().unwrap(), kind };
    let Ok(message) = stored::Entry::decode(input.rest()) else { return };
    let Some((content, since)) = from_message(&key, &message) else { return };
    check(&content, &message, kind);
    let written = stored::Entry { content: Some(to_message(&content)), ..message };
    let bytes = written.encode_to_vec();
    let again = stored::Entry::decode(&*bytes).expect("what is written can be decoded");
    let (again, since_again) = from_message(&key, &again).expect("what is written is valid");
    assert!(is_same(&content, &again) && since == since_again, "it is not the same");
}

fn check(content: &Content, message: &stored::Entry, kind: EntryKind) {
    match (content, message.content.as_ref().expect("content")) {
        (Content::Present(user), entry::Content::User(stored)) => {
            assert!(kind == EntryKind::Profile && user.sub.as_str() == "ada", "another user's entry");
            assert_eq!(user.username.as_str(), stored.username);
            let has = |name: &str, value: &str| {
                stored.attributes.iter().any(|own| own.name == name && own.value == value)
            };
            assert!(user.attributes.iter().all(|(name, value)| has(name, value)), "an attribute is made up");
        }
        (Content::Groups(groups, _), entry::Content::Groups(stored)) => {
            assert!(kind == EntryKind::Groups && groups.names().eq(stored.names.iter()), "other groups");
        }
        (Content::Absent(_), entry::Content::Absent(_)) => assert_eq!(kind, EntryKind::Profile),
        _ => panic!("content of another kind"),
    }
}

fn is_same(one: &Content, other: &Content) -> bool {
    match (one, other) {
        (Content::Present(one), Content::Present(other)) => one == other,
        (Content::Groups(one, enabled), Content::Groups(other, also)) => one == other && enabled == also,
        (Content::Absent(one), Content::Absent(other)) => one == other,
        _ => false,
    }
}
