//! One user of the pool.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user. Its `sub` is a field, never one of its `attributes`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The username in the pool, by which AdminGetUser finds every user.
    pub username: String,
    /// The password. A user without one cannot sign in.
    #[serde(default)]
    pub password: Option<String>,
    /// The immutable id. Its default in a users file is a random UUID.
    #[serde(default = "random_sub")]
    pub sub: String,
    /// Attribute values by name. Cognito has strings only.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The names of the user's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether the user can sign in.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// The status of the account.
    #[serde(default)]
    pub status: Status,
    /// When the user was created.
    #[serde(skip, default = "SystemTime::now")]
    pub created_at: SystemTime,
    /// When the user was last changed.
    #[serde(skip, default = "SystemTime::now")]
    pub modified_at: SystemTime,
}

impl User {
    /// A confirmed and enabled user with a random `sub` and no attributes.
    pub fn local(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..Self::new(username.into(), Status::Confirmed) }
    }

    /// A user from another identity provider: without a password, and found by username only.
    pub fn federated(username: impl Into<String>) -> Self {
        Self::new(username.into(), Status::ExternalProvider)
    }

    /// Returns whether Cognito resolves `name` to this user: by its username, or by its `sub` if it
    /// is local.
    pub fn is_found_by(&self, name: &str) -> bool {
        self.username == name || (self.sub == name && self.status != Status::ExternalProvider)
    }

    /// Returns the value of an attribute or of `sub`.
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

/// Cognito's user statuses, serialized as Cognito spells them (`EXTERNAL_PROVIDER`).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Signed up, not confirmed.
    Unconfirmed,
    /// The usual status of a local user.
    #[default]
    Confirmed,
    /// Legacy.
    Archived,
    /// Legacy.
    Compromised,
    /// Signed in through another identity provider.
    ExternalProvider,
    /// Cognito does not know the status.
    Unknown,
    /// The user must request a code and set a new password.
    ResetRequired,
    /// Created by an administrator, with a temporary password.
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
    fn a_local_user_is_found_by_username_and_sub_and_a_federated_one_by_username_only() {
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
