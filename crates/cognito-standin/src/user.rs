//! One user of the pool.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user. Its `sub` is a field, never one of its `attributes`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The pool username: what AdminGetUser takes for everybody.
    pub username: String,
    /// Without one nobody can sign in as this user.
    #[serde(default)]
    pub password: Option<String>,
    /// The immutable id; left out of a users file it is a random UUID.
    #[serde(default = "random_sub")]
    pub sub: String,
    /// Attribute values by name; Cognito knows only strings.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The names of the user's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// A user that is not enabled cannot sign in.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Where the account is in its life.
    #[serde(default)]
    pub status: Status,
    /// When the user was made.
    #[serde(skip, default = "SystemTime::now")]
    pub created_at: SystemTime,
    /// When the user was last changed.
    #[serde(skip, default = "SystemTime::now")]
    pub modified_at: SystemTime,
}

impl User {
    /// A confirmed, enabled user of the pool itself, with a random `sub` and nothing more.
    pub fn local(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..Self::new(username.into(), Status::Confirmed) }
    }

    /// A user from another identity provider: no password, and found by username only.
    pub fn federated(username: impl Into<String>) -> Self {
        Self::new(username.into(), Status::ExternalProvider)
    }

    /// Whether Cognito resolves `name` to this user: the username, or the `sub` of a local one.
    pub fn is_found_by(&self, name: &str) -> bool {
        self.username == name || (self.sub == name && self.status != Status::ExternalProvider)
    }

    /// The value of an attribute, `sub` among them.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "sub" => Some(&self.sub),
            name => self.attributes.get(name).map(String::as_str),
        }
    }

    fn new(username: String, status: Status) -> Self {
        let now = SystemTime::now();
        Self {
            username,
            password: None,
            sub: random_sub(),
            attributes: BTreeMap::new(),
            groups: Vec::new(),
            enabled: true,
            status,
            created_at: now,
            modified_at: now,
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("attributes", &self.attributes.len())
            .field("enabled", &self.enabled)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Cognito's user states, spelt as it spells them (`EXTERNAL_PROVIDER`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Signed up, not confirmed.
    Unconfirmed,
    /// The usual state of a local user.
    #[default]
    Confirmed,
    /// Legacy.
    Archived,
    /// Legacy.
    Compromised,
    /// Signed in through another identity provider.
    ExternalProvider,
    /// Cognito's own word for a state it does not know.
    Unknown,
    /// Must ask for a code and set a new password.
    ResetRequired,
    /// Made by an administrator, with a temporary password.
    ForceChangePassword,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

fn random_sub() -> String {
    Uuid::new_v4().to_string()
}

fn enabled() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_user_answers_to_username_and_sub_a_federated_one_to_username_only() {
        let local = User::local("ada", "Secret-1");
        assert!(local.is_found_by("ada") && local.is_found_by(&local.sub) && !local.is_found_by("Ada"));
        let federated = User::federated("Google_1");
        assert!(federated.is_found_by("Google_1") && !federated.is_found_by(&federated.sub));
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let mut user = User::local("ada", "Secret-1");
        user.attributes.insert("email".to_owned(), "ada@example.com".to_owned());
        let shown = format!("{user:?}");
        assert!(
            !shown.contains("ada") && !shown.contains("Secret-1") && !shown.contains(&user.sub),
            "{shown}"
        );
    }
}
