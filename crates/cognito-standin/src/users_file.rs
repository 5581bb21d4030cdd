//! Reads and checks a users file. Every error names the user and the field.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::user::User;

/// Why a users file is invalid: the user, the field and the problem.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsersFileError(String);

impl UsersFileError {
    fn new(user: &str, field: &str, problem: impl std::fmt::Display) -> Self {
        Self(format!("user {user}: field `{field}`: {problem}"))
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<User>, UsersFileError> {
    let file: File =
        serde_json::from_str(text).map_err(|error| UsersFileError(format!("users file: {error}")))?;
    let users: Vec<User> =
        file.users.iter().enumerate().map(|(at, entry)| user(at, entry)).collect::<Result<_, _>>()?;
    check_unique(&users)?;
    Ok(users)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: Vec<Value>,
}

fn user(at: usize, entry: &Value) -> Result<User, UsersFileError> {
    let label = match entry.get("username").and_then(Value::as_str) {
        Some(username) => format!("{username:?}"),
        None => format!("number {}", at + 1),
    };
    let user: User = serde_path_to_error::deserialize(entry)
        .map_err(|error| UsersFileError::new(&label, &error.path().to_string(), error.inner()))?;
    match invalid_field(&user) {
        Some((field, problem)) => Err(UsersFileError::new(&label, field, problem)),
        None => Ok(user),
    }
}

fn invalid_field(user: &User) -> Option<(&'static str, &'static str)> {
    let invisible = |c: char| c.is_control() || c.is_whitespace();
    if user.username.is_empty() || user.username.chars().count() > 128 || user.username.contains(invisible) {
        return Some(("username", "must be 1 to 128 characters without white space"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if user.sub.is_empty() || user.sub.len() > 128 || !user.sub.chars().all(allowed) {
        return Some(("sub", "must be 1 to 128 characters of A-Z a-z 0-9 _ -"));
    }
    user.attributes
        .contains_key("sub")
        .then_some(("attributes.sub", "is not an attribute here; use the field `sub` beside `username`"))
}

fn check_unique(users: &[User]) -> Result<(), UsersFileError> {
    let (mut usernames, mut subs) = (HashSet::new(), HashSet::new());
    for user in users {
        for (field, is_new) in
            [("username", usernames.insert(&user.username)), ("sub", subs.insert(&user.sub))]
        {
            if !is_new {
                let label = format!("{:?}", user.username);
                return Err(UsersFileError::new(&label, field, "another user has the same value"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::user::Status, *};

    fn parse_error(text: &str) -> String {
        parse(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_username_is_enough() {
        let users = parse(r#"{"users": [{"username": "eve"}, {"username": "mel"}]}"#).expect("a users file");
        assert_eq!((users[0].status, users[0].enabled), (Status::Confirmed, true));
        assert!(uuid::Uuid::parse_str(&users[0].sub).is_ok());
        assert_ne!(users[0].sub, users[1].sub);
    }

    #[test]
    fn every_field_is_read() {
        let text = r#"{"users": [{"username": "eve", "password": "p", "sub": "s_1", "attributes": {"custom:a": "b"},
            "groups": ["g"], "enabled": false, "status": "EXTERNAL_PROVIDER"}]}"#;
        let eve = parse(text).expect("a users file").remove(0);
        assert_eq!((eve.password.as_deref(), eve.sub.as_str(), eve.enabled), (Some("p"), "s_1", false));
        assert_eq!(
            (eve.attribute("custom:a"), eve.groups.clone(), eve.status),
            (Some("b"), vec!["g".to_owned()], Status::ExternalProvider)
        );
    }

    #[test]
    fn errors_name_the_user_and_the_field() {
        let cases = [
            (
                r#"{"users": [{"username": "eve", "enabled": "yes"}]}"#,
                r#"user "eve": field `enabled`: invalid type"#,
            ),
            (
                r#"{"users": [{"username": "eve", "pasword": "x"}]}"#,
                r#"user "eve": field `pasword`: unknown field"#,
            ),
            (
                r#"{"users": [{"username": "eve", "attributes": {"email": 1}}]}"#,
                r#"user "eve": field `attributes.email`: invalid type"#,
            ),
            (
                r#"{"users": [{"username": "a"}, {"sub": "x"}]}"#,
                "user number 2: field `.`: missing field `username`",
            ),
            (r#"{"users": [{"username": ""}]}"#, r#"user "": field `username`: must be"#),
            (r#"{"users": [{"username": "eve", "sub": "a b"}]}"#, r#"user "eve": field `sub`: must be"#),
            (
                r#"{"users": [{"username": "eve", "attributes": {"sub": "x"}}]}"#,
                r#"user "eve": field `attributes.sub`: is not an attribute"#,
            ),
        ];
        for (text, expected) in cases {
            let error = parse_error(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn duplicates_and_other_shapes_are_refused() {
        let twice = r#"{"users": [{"username": "eve"}, {"username": "eve"}]}"#;
        assert_eq!(parse_error(twice), r#"user "eve": field `username`: another user has the same value"#);
        let same_sub = r#"{"users": [{"username": "eve", "sub": "s"}, {"username": "mel", "sub": "s"}]}"#;
        assert_eq!(parse_error(same_sub), r#"user "mel": field `sub`: another user has the same value"#);
        assert!(parse_error("[]").starts_with("users file: "));
        assert!(parse_error(r#"{"users": [], "clients": []}"#).contains("unknown field `clients`"));
    }
}
