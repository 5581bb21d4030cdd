//! Cache entries as the shared cache stores them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message as _;

use super::super::{
    cache::Key,
    entry::{CacheEntry, Content, LookupMethod},
};
use crate::{
    attribute::Attributes,
    clock::TimePoint,
    freshness::Source,
    shared_cache::{
        Binding, MAX_SKEW, ServerTime, SharedCache, Unreadable,
        stored::{self, entry},
    },
    telemetry::metrics::shared_entries::UnreadableReason,
    unix_time::UnixTime,
    user::{Groups, User, UserStatus, Username},
};

/// Why an entry of the shared cache is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OpenError {
    /// It was altered, or is another user's, or is no entry.
    Invalid,
    /// A later version wrote it.
    TooNew,
    /// This replica does not have its key.
    UnknownKey,
}

impl From<Unreadable> for OpenError {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Key => Self::UnknownKey,
            Unreadable::Binding | Unreadable::Format => Self::Invalid,
        }
    }
}

/// Seals an entry for its user and kind. None if it cannot be, or if it is too large to be shared.
pub(super) fn seal(store: &SharedCache, key: &Key, entry: &CacheEntry) -> Option<Vec<u8>> {
    let began = entry.began.system.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let message = stored::Entry {
        min_reader: stored::READER,
        began_wall_ms: i64::try_from(began.as_millis()).ok()?,
        since_us: i64::try_from(entry.since.as_micros()).ok()?,
        content: Some(to_message(&entry.content)),
    };
    store.seal(binding(key), &message.encode_to_vec()).ok()
}

/// Opens an entry that a replica sealed for this user and kind.
///
/// `sent` is before the store was asked, and `now` is its clock then. So the entry is never taken
/// for younger than it is. Its age by the system clocks is a second bound, for a store that lies about the time.
pub(super) fn open(
    store: &SharedCache,
    key: &Key,
    sealed: &[u8],
    sent: TimePoint,
    now: ServerTime,
) -> Result<CacheEntry, OpenError> {
    let plain = store.open(binding(key), sealed)?;
    let message = stored::Entry::decode(&*plain).map_err(|_| OpenError::Invalid)?;
    if message.min_reader > stored::READER {
        store.metrics().unreadable.get(UnreadableReason::TooNew).inc();
        return Err(OpenError::TooNew);
    }
    let (content, since) = from_message(key, &message).ok_or(OpenError::Invalid)?;
    let by_system_clocks = sent.system.duration_since(began(&message)).unwrap_or_default();
    let age = now.saturating_duration_since(since).max(by_system_clocks.saturating_sub(MAX_SKEW));
    let began = TimePoint { system: sent.system - age, boot: sent.boot - age };
    Ok(CacheEntry {
        origin: Source::SharedCache,
        since,
        checked: sent.boot,
        ..CacheEntry::new(content, began)
    })
}

fn binding(key: &Key) -> Binding<'_> {
    Binding::Value { pool: &key.pool, sub: &key.sub, kind: key.kind.into() }
}

fn began(message: &stored::Entry) -> SystemTime {
    let since_1970 = Duration::from_millis(u64::try_from(message.began_wall_ms).unwrap_or_default());
    SystemTime::UNIX_EPOCH.checked_add(since_1970).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn to_message(content: &Content) -> entry::Content {
    match content {
        Content::Absent(method) => {
            entry::Content::Absent(stored::Absent { method: to_method(*method).into() })
        }
        Content::Groups(groups, user_enabled) => entry::Content::Groups(stored::Groups {
            names: groups.names().map(str::to_owned).collect(),
            user_enabled: *user_enabled,
        }),
        Content::Present(user) => entry::Content::User(stored::User {
            username: user.username.as_str().to_owned(),
            attributes: user.attributes.iter().map(to_attribute).collect(),
            status: to_status(user.status).into(),
            enabled: user.enabled,
            created_at_us: user.created_at.and_then(to_micros),
            updated_at_us: user.updated_at.and_then(to_micros),
        }),
    }
}

/// None if it is not an entry of this kind, or no valid one.
fn from_message(key: &Key, message: &stored::Entry) -> Option<(Content, ServerTime)> {
    use super::super::cache::EntryKind::{Groups as OfGroups, Profile};
    let since = ServerTime::from_micros(u64::try_from(message.since_us).ok()?);
    let content = match (key.kind, message.content.as_ref()?) {
        (Profile, entry::Content::Absent(absent)) => Content::Absent(from_method(absent.method())?),
        (Profile, entry::Content::User(user)) => Content::Present(Arc::new(from_user(key, user)?)),
        (OfGroups, entry::Content::Groups(groups)) => {
            Content::Groups(Groups::try_from(groups.names.clone()).ok()?, groups.user_enabled)
        }
        (Profile | OfGroups, _) => return None,
    };
    Some((content, since))
}

fn from_user(key: &Key, user: &stored::User) -> Option<User> {
    let attribute =
        |attribute: &stored::Attribute| Some((attribute.name.parse().ok()?, attribute.value.clone().into()));
    let attributes: Option<BTreeMap<_, _>> = user.attributes.iter().map(attribute).collect();
    Some(User {
        username: Username::of(&user.username, &key.sub).ok()?,
        sub: key.sub.clone(),
        attributes: Attributes::from(attributes?),
        status: from_status(user.status()),
        enabled: user.enabled,
        created_at: user.created_at_us.and_then(from_micros),
        updated_at: user.updated_at_us.and_then(from_micros),
    })
}

fn to_attribute((name, value): (&str, &str)) -> stored::Attribute {
    stored::Attribute { name: name.to_owned(), value: value.to_owned() }
}

fn to_micros(time: UnixTime) -> Option<i64> {
    let time = SystemTime::from(time);
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).ok();
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => micros(before.duration()).map(|micros| -micros),
    }
}

fn from_micros(micros: i64) -> Option<UnixTime> {
    let duration = Duration::from_micros(micros.unsigned_abs());
    let time = match micros >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(duration),
        false => SystemTime::UNIX_EPOCH.checked_sub(duration),
    };
    time.and_then(UnixTime::new)
}

fn to_method(method: LookupMethod) -> stored::LookupMethod {
    match method {
        LookupMethod::BySub => stored::LookupMethod::Sub,
        LookupMethod::ByUsername => stored::LookupMethod::Username,
    }
}

fn from_method(method: stored::LookupMethod) -> Option<LookupMethod> {
    match method {
        stored::LookupMethod::Unspecified => None,
        stored::LookupMethod::Sub => Some(LookupMethod::BySub),
        stored::LookupMethod::Username => Some(LookupMethod::ByUsername),
    }
}

fn to_status(status: UserStatus) -> stored::UserStatus {
    STATUSES.iter().find(|(known, _)| *known == status).map_or(stored::UserStatus::Unspecified, |(_, s)| *s)
}

fn from_status(status: stored::UserStatus) -> UserStatus {
    STATUSES.iter().find(|(_, known)| *known == status).map_or(UserStatus::Unrecognised, |(s, _)| *s)
}

const STATUSES: [(UserStatus, stored::UserStatus); 8] = [
    (UserStatus::Archived, stored::UserStatus::Archived),
    (UserStatus::Compromised, stored::UserStatus::Compromised),
    (UserStatus::Confirmed, stored::UserStatus::Confirmed),
    (UserStatus::ExternalProvider, stored::UserStatus::ExternalProvider),
    (UserStatus::ForceChangePassword, stored::UserStatus::ForceChangePassword),
    (UserStatus::ResetRequired, stored::UserStatus::ResetRequired),
    (UserStatus::Unconfirmed, stored::UserStatus::Unconfirmed),
    (UserStatus::Unknown, stored::UserStatus::Unknown),
];

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
