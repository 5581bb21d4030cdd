//! What a stand-in is started with: a pool's id, its app clients and its users.

use std::fmt;

use super::{
    sandbox_users,
    user::User,
    users_file::{self, UsersFileError},
};

/// A user pool at its start.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The pool's id, such as `eu-west-1_Sandbox01`; the part before `_` is the Region.
    pub id: String,
    /// The ids of the app clients through which users sign in; tokens made for tests carry the first.
    pub web_clients: Vec<String>,
    /// The app clients that take tokens with the client-credentials grant.
    pub machine_clients: Vec<MachineClient>,
    /// The users.
    pub users: Vec<User>,
    /// The role whose session alone may call; none where nobody's credentials are looked at.
    pub role: Option<Role>,
}

/// A role that can be assumed.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What it wants to be told, if anything.
    pub external_id: Option<String>,
}

impl Pool {
    /// The pool of the `sandbox` command with its three users: `ada`, a federated one, and `bob`, who is disabled.
    pub fn sandbox() -> Self {
        Self {
            id: "eu-west-1_Sandbox01".to_owned(),
            web_clients: vec!["sandboxwebclient0000000001".to_owned()],
            machine_clients: vec![MachineClient::sandbox()],
            users: sandbox_users::sandbox_users(),
            role: None,
        }
    }

    /// The sandbox's pool with the users of a users file instead of its own.
    ///
    /// ```json
    /// {"users": [{"username": "ada", "password": "Ada-Sandbox-1", "attributes": {"email": "ada@example.com"}}]}
    /// ```
    /// Of a user only `username` is required. `sub` is random when left out; `groups` is a list of names, `enabled` is
    /// true unless said, and `status` is one of Cognito's words (`CONFIRMED` when left out). Fails on what is not such
    /// a file, an unknown field, an unusable `sub`, and a username or `sub` that appears twice.
    pub fn from_json(text: &str) -> Result<Self, UsersFileError> {
        Ok(Self { users: users_file::parse(text)?, ..Self::sandbox() })
    }
}

/// An app client for the client-credentials grant.
#[derive(Clone)]
pub struct MachineClient {
    /// The client's id, which is also the `sub` of its tokens.
    pub id: String,
    /// The client's secret.
    pub secret: String,
    /// The scopes it may ask for, such as `user-lookup/read`; it gets all of them when it names none.
    pub scopes: Vec<String>,
}

impl MachineClient {
    fn sandbox() -> Self {
        Self {
            id: "sandboxmachine000000000001".to_owned(),
            secret: "sandbox-secret-not-a-secret".to_owned(),
            scopes: vec!["user-lookup/read".to_owned()],
        }
    }
}

impl fmt::Debug for MachineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineClient")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
