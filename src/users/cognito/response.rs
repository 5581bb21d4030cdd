//! Reads a response as the user looked up, or fails: never as part of a user, never as another
//! user.

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_cognitoidentityprovider::{
    operation::admin_get_user::AdminGetUserOutput,
    primitives::DateTime,
    types::{AttributeType, UserStatusType, UserType},
};

use crate::{
    attribute::{AttributeName, AttributeValue},
    unix_time::UnixTime,
    user::{Sub, User, UserStatus, Username},
    users::Failure,
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

/// Reads a response as the user looked up. An alias may match another user, which fails.
pub(super) fn user(record: UserType, expected: &Sub) -> Result<User, Failure> {
    let mut attributes = attributes(record.attributes.unwrap_or_default())?;
    let sub = attributes.remove(SUB).ok_or(Failure::Unreadable)?;
    if sub.as_str() != expected.as_str() {
        return Err(Failure::WrongUser);
    }
    let username =
        record.username.and_then(|name| Username::of(&name, expected).ok()).ok_or(Failure::Unreadable)?;
    Ok(User {
        sub: expected.clone(),
        username,
        attributes: attributes.into(),
        status: user_status(record.user_status.as_ref()),
        enabled: record.enabled,
        created_at: record.user_create_date.and_then(time),
        updated_at: record.user_last_modified_date.and_then(time),
    })
}

fn attributes(list: Vec<AttributeType>) -> Result<BTreeMap<AttributeName, AttributeValue>, Failure> {
    let mut attributes = BTreeMap::new();
    for AttributeType { name, value, .. } in list {
        let name: AttributeName = name.parse().map_err(|_| Failure::Unreadable)?;
        if attributes.insert(name, value.unwrap_or_default().into()).is_some() {
            return Err(Failure::Unreadable);
        }
    }
    Ok(attributes)
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
    fn another_or_an_incomplete_user_fails() {
        let mut nameless = record(&[("sub", "a")]);
        nameless.username = None;
        let table = [
            ("another sub", record(&[("sub", "b")]), Failure::WrongUser),
            ("the sub in another case", record(&[("sub", "A")]), Failure::WrongUser),
            ("no sub", record(&[("email", "x")]), Failure::Unreadable),
            ("no attributes", record(&[]), Failure::Unreadable),
            (
                "an attribute twice",
                record(&[("sub", "a"), ("email", "x"), ("email", "x")]),
                Failure::Unreadable,
            ),
            ("two subs", record(&[("sub", "a"), ("sub", "b")]), Failure::Unreadable),
            ("a nameless attribute", record(&[("sub", "a"), ("", "x")]), Failure::Unreadable),
            ("no username", nameless, Failure::Unreadable),
        ];
        for (case, record, failure) in table {
            assert_eq!(user(record, &sub("a")), Err(failure), "{case}");
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
