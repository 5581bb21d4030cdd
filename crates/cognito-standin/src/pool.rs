//! The initial state of a stand-in: the id of a pool, its app clients and its users.

use std::fmt;

use super::{
    user::User,
    users_file::{self, UsersFileError},
};

/// A user pool at its start.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The id of the pool, such as `eu-west-1_Sandbox01`. The part before `_` is the Region.
    pub id: String,
    /// The ids of the app clients with which users sign in. Tokens issued without a sign-in carry
    /// the first one.
    pub web_clients: Vec<String>,
    /// The app clients for the client-credentials grant.
    pub machine_clients: Vec<MachineClient>,
    /// The users.
    pub users: Vec<User>,
    /// The role whose session the pool requires of every call. Without one it accepts any
    /// credentials.
    pub role: Option<Role>,
}

/// A role that `AssumeRole` gives credentials for.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id that `AssumeRole` must carry, if any.
    pub external_id: Option<String>,
}

impl Pool {
    /// The pool of the `sandbox` command, with the users of [`SANDBOX_USERS`].
    #[expect(clippy::expect_used, reason = "a test reads the file")]
    pub fn sandbox() -> Self {
        Self::from_json(SANDBOX_USERS).expect("the sandbox's users file is valid")
    }

    /// The pool of the `sandbox` command with the users of a users file.
    ///
    /// ```json
    /// {"users": [{"username": "ada", "password": "Ada-Sandbox-1", "attributes": {"email": "ada@example.com"}}]}
    /// ```
    /// Only `username` is required. The default of `sub` is a random UUID, of `groups` the empty
    /// list, of `enabled` true and of `status` `CONFIRMED`. Fails if the text is no such file or
    /// has an unknown field, an invalid `sub`, or a `username` or `sub` that appears twice.
    pub fn from_json(text: &str) -> Result<Self, UsersFileError> {
        Ok(Self {
            id: "eu-west-1_Sandbox01".to_owned(),
            web_clients: vec!["sandboxwebclient0000000001".to_owned()],
            machine_clients: vec![MachineClient {
                id: "sandboxmachine000000000001".to_owned(),
                secret: "sandbox-secret-not-a-secret".to_owned(),
                scopes: vec!["user-lookup/read".to_owned()],
            }],
            users: users_file::parse(text)?,
            role: None,
        })
    }
}

/// The users file of the `sandbox` command: `ada`, the federated `Google_1034567890` and the
/// disabled `bob`. Each `sub` is fixed, so examples can name it.
pub const SANDBOX_USERS: &str = include_str!("sandbox_users.json");

/// The AWS account that everything is in.
pub(super) const ACCOUNT: &str = "123456789012";

/// An app client for the client-credentials grant.
#[derive(Clone)]
pub struct MachineClient {
    /// The id of the client, which is also the `sub` of its tokens.
    pub id: String,
    /// The secret of the client.
    pub secret: String,
    /// The scopes that it may request, such as `user-lookup/read`. A request without scopes gets
    /// all of them.
    pub scopes: Vec<String>,
}

impl fmt::Debug for MachineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineClient")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::user::Status, *};

    #[test]
    fn the_sandbox_has_a_local_a_federated_and_a_disabled_user() {
        let [ada, grace, bob] = Pool::sandbox().users.try_into().expect("three users");
        assert_eq!((ada.status, ada.enabled), (Status::Confirmed, true));
        assert_eq!((grace.status, grace.enabled), (Status::ExternalProvider, true));
        assert_eq!((bob.status, bob.enabled), (Status::Confirmed, false));
        assert!(
            grace.attribute("identities").is_some_and(|text| text.contains(r#""providerName":"Google""#))
        );
    }
}
