//! Reads a response as the user looked up, or fails: never as another user.

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_cognitoidentityprovider::{
    operation::admin_get_user::AdminGetUserOutput,
    primitives::DateTime,
    types::{AttributeType, UserStatusType, UserType},
};

use super::flaw::Flaw;
use crate::{
    attribute::{AttributeName, AttributeValue},
    unix_time::UnixTime,
    user::{Sub, User, UserStatus, Username},
};

/// Returns the user of `AdminGetUser` in the form of `ListUsers`.
pub(super) fn as_listed(output: AdminGetUserOutput) -> UserType {
    UserType::builder()
        .username(output.username)
        .set_attributes(output.user_attributes)
        .set_user_status(output.user_status)
        .enabled(output.enabled)
        .set_user_create_date(output.user_create_date)
        .set_user_last_modified_date(output.user_last_modified_date)
        .build()
}

/// Reads a response as the user looked up.
pub(super) fn user(record: UserType, expected: &Sub) -> Result<User, Flaw> {
    let list = record.attributes.unwrap_or_default();
    let mut subs = list.iter().filter(|attribute| attribute.name == SUB).filter_map(AttributeType::value);
    let sub = subs.next().ok_or_else(|| Flaw::unreadable("sub"))?;
    if subs.any(|other| other != sub) {
        return Err(Flaw::Contradictory);
    }
    if sub != expected.as_str() {
        return Err(Flaw::AnotherUser);
    }
    let name = record.username.unwrap_or_default();
    Ok(User {
        sub: expected.clone(),
        username: Username::of(&name, expected).map_err(|_| Flaw::unreadable("Username"))?,
        attributes: attributes(list).into(),
        status: user_status(record.user_status.as_ref()),
        enabled: record.enabled,
        created_at: record.user_create_date.and_then(time),
        updated_at: record.user_last_modified_date.and_then(time),
    })
}

/// Chooses among the entries of one `sub`. Linking a federated user gives it the `sub` of the user
/// that it was linked to, which is the one that is not `EXTERNAL_PROVIDER`. Where all are, it is the
/// oldest. A pool has no two local users of one `sub`.
pub(super) fn linked(entries: Vec<User>) -> Result<Option<User>, Flaw> {
    let (external, mut local): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_external);
    match (local.pop(), local.is_empty()) {
        (Some(user), true) => Ok(Some(user)),
        (Some(_), false) => Err(Flaw::Contradictory),
        (None, _) => Ok(external.into_iter().min_by_key(|user| (user.created_at.is_none(), user.created_at))),
    }
}

pub(super) fn is_external(user: &User) -> bool {
    user.status == UserStatus::ExternalProvider
}

/// Of two attributes with one name, the first counts.
fn attributes(list: Vec<AttributeType>) -> BTreeMap<AttributeName, AttributeValue> {
    let mut attributes = BTreeMap::new();
    for AttributeType { name, value, .. } in list {
        if let (Ok(name), Some(value)) = (name.parse::<AttributeName>(), value) {
            attributes.entry(name).or_insert_with(|| value.into());
        }
    }
    attributes.remove(SUB);
    attributes
}

fn user_status(status: Option<&UserStatusType>) -> UserStatus {
    match status {
        Some(UserStatusType::Archived) => UserStatus::Archived,
        Some(UserStatusType::Compromised) => UserStatus::Compromised,
        Some(UserStatusType::Confirmed) => UserStatus::Confirmed,
        Some(UserStatusType::ExternalProvider) => UserStatus::ExternalProvider,
        Some(UserStatusType::ForceChangePassword) => UserStatus::ForceChangePassword,
        Some(UserStatusType::ResetRequired) => UserStatus::ResetRequired,
        Some(UserStatusType::Unconfirmed) => UserStatus::Unconfirmed,
        Some(status) if status.as_str() == "UNKNOWN" => UserStatus::Unknown,
        _ => UserStatus::Unrecognised,
    }
}

fn time(date: DateTime) -> Option<UnixTime> {
    SystemTime::try_from(date).ok().and_then(UnixTime::new)
}

const SUB: &str = "sub";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_user_looked_up_is_read() {
        let user =
            user(record(&[("sub", "a"), ("email", "ada@example.com"), ("custom:plan", "pro")]), &sub("a"))
                .unwrap();
        assert_eq!(user.username.as_str(), "ada");
        assert_eq!(
            user.attributes.iter().collect::<Vec<_>>(),
            [("custom:plan", "pro"), ("email", "ada@example.com")]
        );
        assert_eq!(user.status, UserStatus::Confirmed);
        assert!(user.enabled);
    }

    #[test]
    fn another_or_an_unreadable_user_fails() {
        let mut nameless = record(&[("sub", "a")]);
        nameless.username = None;
        let unreadable = |field| Flaw::unreadable(field);
        let table = [
            ("another sub", record(&[("sub", "b")]), Flaw::AnotherUser),
            ("the sub in another case", record(&[("sub", "A")]), Flaw::AnotherUser),
            ("two subs", record(&[("sub", "a"), ("sub", "b")]), Flaw::Contradictory),
            ("no sub", record(&[("email", "x")]), unreadable("sub")),
            ("no attributes", record(&[]), unreadable("sub")),
            ("no username", nameless, unreadable("Username")),
        ];
        for (case, record, expected) in table {
            assert_eq!(user(record, &sub("a")), Err(expected), "{case}");
        }
    }

    #[test]
    fn the_first_of_two_attributes_counts_and_one_without_a_valid_name_is_left_out() {
        let list = [
            ("sub", "a"),
            ("name", "Ada"),
            ("name", ""),
            ("", "x"),
            ("a b", "y"),
            ("sub", "a"),
            ("zoneinfo", ""),
        ];
        let user = user(record(&list), &sub("a")).unwrap();
        assert!(user.attributes.iter().eq([("name", "Ada"), ("zoneinfo", "")]));
    }

    #[test]
    fn of_linked_entries_the_local_one_is_the_user_or_else_the_oldest() {
        use UserStatus::{Confirmed, ExternalProvider, ForceChangePassword};
        let entry = |(name, status, created): &(&str, UserStatus, Option<u64>)| User {
            username: name.parse().unwrap(),
            status: *status,
            created_at: created
                .map(|at| UnixTime::new(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap()),
            ..crate::users::test_user("a")
        };
        type Entry = (&'static str, UserStatus, Option<u64>);
        type Case = (&'static [Entry], Result<Option<&'static str>, Flaw>);
        let table: [Case; 7] = [
            (&[], Ok(None)),
            (&[("google", ExternalProvider, None)], Ok(Some("google"))),
            (&[("ada", Confirmed, Some(9)), ("google", ExternalProvider, Some(1))], Ok(Some("ada"))),
            (
                &[
                    ("g", ExternalProvider, Some(1)),
                    ("ada", ForceChangePassword, None),
                    ("f", ExternalProvider, None),
                ],
                Ok(Some("ada")),
            ),
            (
                &[
                    ("f", ExternalProvider, None),
                    ("g", ExternalProvider, Some(5)),
                    ("h", ExternalProvider, Some(4)),
                ],
                Ok(Some("h")),
            ),
            (&[("ada", Confirmed, None), ("bob", Confirmed, None)], Err(Flaw::Contradictory)),
            (
                &[("ada", Confirmed, None), ("g", ExternalProvider, None), ("ada", Confirmed, None)],
                Err(Flaw::Contradictory),
            ),
        ];
        for (entries, expected) in table {
            let chosen = linked(entries.iter().map(entry).collect());
            let name = chosen.as_ref().map(|user| user.as_ref().map(|user| user.username.as_str()));
            assert_eq!(name, expected.as_ref().copied(), "{entries:?}");
        }
    }

    #[test]
    fn an_unknown_status_is_unrecognised() {
        let table = [
            ("CONFIRMED", UserStatus::Confirmed),
            ("UNCONFIRMED", UserStatus::Unconfirmed),
            ("FORCE_CHANGE_PASSWORD", UserStatus::ForceChangePassword),
            ("RESET_REQUIRED", UserStatus::ResetRequired),
            ("EXTERNAL_PROVIDER", UserStatus::ExternalProvider),
            ("ARCHIVED", UserStatus::Archived),
            ("COMPROMISED", UserStatus::Compromised),
            ("UNKNOWN", UserStatus::Unknown),
            ("SOMETHING_NEW", UserStatus::Unrecognised),
        ];
        for (status, expected) in table {
            assert_eq!(user_status(Some(&UserStatusType::from(status))), expected, "{status}");
        }
        assert_eq!(user_status(None), UserStatus::Unrecognised);
    }

    fn record(attributes: &[(&str, &str)]) -> UserType {
        let attribute = |(name, value): &(&str, &str)| {
            AttributeType::builder().name(*name).value(*value).build().unwrap()
        };
        UserType::builder()
            .username("ada")
            .set_attributes(Some(attributes.iter().map(attribute).collect()))
            .user_status(UserStatusType::Confirmed)
            .enabled(true)
            .build()
    }

    fn sub(sub: &str) -> Sub {
        sub.parse().unwrap()
    }
}
