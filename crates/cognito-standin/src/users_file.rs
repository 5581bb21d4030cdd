//! The users file: reading and checking it, with the user and the field named in every complaint.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::user::User;

/// Why a users file was refused.
#[derive(Debug, Error)]
pub enum UsersFileError {
    /// The file as a whole: not JSON, or not an object with `users`.
    #[error("users file: {0}")]
    File(#[source] serde_json::Error),
    /// A field is unknown, missing or of the wrong type.
    #[error("user {user}: field `{field}`: {source}")]
    Field {
        /// The username, or the place in the list of a user that has none.
        user: String,
        /// The path of the field inside the user.
        field: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A field has the right type and an impossible value.
    #[error("user {user}: field `{field}`: {problem}")]
    Value {
        /// The username, or the place in the list of a user that has none.
        user: String,
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Reads a users file.
pub(super) fn parse(text: &str) -> Result<Vec<User>, UsersFileError> {
    let file: File = serde_json::from_str(text).map_err(UsersFileError::File)?;
    let users =
        file.users.iter().enumerate().map(|(at, entry)| user(at, entry)).collect::<Result<Vec<_>, _>>()?;
    refuse_repeats(&users)?;
    Ok(users)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: Vec<Value>,
}

fn user(at: usize, entry: &Value) -> Result<User, UsersFileError> {
    let label = label(at, entry);
    let user: User = serde_path_to_error::deserialize(entry).map_err(|error| UsersFileError::Field {
        user: label.clone(),
        field: error.path().to_string(),
        source: error.into_inner(),
    })?;
    check(&user).map_err(|(field, problem)| UsersFileError::Value { user: label, field, problem })?;
    Ok(user)
}

fn label(at: usize, entry: &Value) -> String {
    match entry.get("username").and_then(Value::as_str) {
        Some(username) => format!("{username:?}"),
        None => format!("number {}", at + 1),
    }
}

fn check(user: &User) -> Result<(), (&'static str, &'static str)> {
    let unseen = |c: char| c.is_control() || c.is_whitespace();
    if user.username.is_empty() || user.username.chars().count() > 128 || user.username.contains(unseen) {
        return Err(("username", "must have 1 to 128 characters, none of them white space"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if user.sub.is_empty() || user.sub.len() > 128 || !user.sub.chars().all(legal) {
        return Err(("sub", "must have 1 to 128 of A-Z a-z 0-9 _ -"));
    }
    if user.attributes.contains_key("sub") {
        return Err(("attributes.sub", "goes beside `username`, not among the attributes"));
    }
    Ok(())
}

fn refuse_repeats(users: &[User]) -> Result<(), UsersFileError> {
    let (mut usernames, mut subs) = (HashSet::new(), HashSet::new());
    for user in users {
        let repeated = if !usernames.insert(&user.username) {
            "username"
        } else if !subs.insert(&user.sub) {
            "sub"
        } else {
            continue;
        };
        let user = format!("{:?}", user.username);
        return Err(UsersFileError::Value { user, field: repeated, problem: "another user has it already" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::user::Status, *};

    fn complaint(text: &str) -> String {
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
    fn complaints_name_the_user_and_the_field() {
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
            (r#"{"users": [{"username": ""}]}"#, r#"user "": field `username`: must have"#),
            (r#"{"users": [{"username": "eve", "sub": "a b"}]}"#, r#"user "eve": field `sub`: must have"#),
            (
                r#"{"users": [{"username": "eve", "attributes": {"sub": "x"}}]}"#,
                r#"user "eve": field `attributes.sub`: goes beside"#,
            ),
        ];
        for (text, expected) in cases {
            let complaint = complaint(text);
            assert!(complaint.starts_with(expected), "{text}: {complaint}");
        }
    }

    #[test]
    fn repeats_and_foreign_shapes_are_refused() {
        let twice = r#"{"users": [{"username": "eve"}, {"username": "eve"}]}"#;
        assert_eq!(complaint(twice), r#"user "eve": field `username`: another user has it already"#);
        let same_sub = r#"{"users": [{"username": "eve", "sub": "s"}, {"username": "mel", "sub": "s"}]}"#;
        assert_eq!(complaint(same_sub), r#"user "mel": field `sub`: another user has it already"#);
        assert!(complaint("[]").starts_with("users file: "));
        assert!(complaint(r#"{"users": [], "clients": []}"#).contains("unknown field `clients`"));
    }
}
