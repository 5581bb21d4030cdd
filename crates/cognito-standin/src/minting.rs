//! Tokens on request, valid or with a flaw, and the document that lists one for each user.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{StandIn, claims, json::insert, keys::SigningKey, lock::lock, state::State, user::User};

/// Which token to issue. Only `user` is required.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// A username, a `sub`, or the id of a machine client.
    pub(super) user: String,
    /// Issues a token that expired an hour ago.
    #[serde(default)]
    expired: bool,
    /// Signs it with a key that the pool does not publish, under the id of one that it does.
    #[serde(default)]
    forged: bool,
    /// Issues an ID token.
    #[serde(default)]
    id: bool,
    /// The scopes, separated by spaces.
    #[serde(default)]
    scope: Option<String>,
    /// The groups in the token; those at Cognito stay.
    #[serde(default)]
    groups: Option<Vec<String>>,
}

impl StandIn {
    /// Returns the document that `GET /sandbox` serves: the addresses, the machine clients, and each user
    /// with its password and an access token, which is new each time.
    pub fn document(&self) -> Value {
        self.state.document()
    }

    /// Adds a member to the [`document`](Self::document), such as the addresses of the service.
    pub fn announce(&self, name: &str, value: Value) {
        lock(&self.state.announced).insert(name.to_owned(), value);
    }
}

impl State {
    /// Issues a token, or nothing if there is no such user.
    pub(super) fn mint(&self, request: &TokenRequest) -> Option<String> {
        let mut claims = self.claims(request)?;
        if let Some(scope) = &request.scope {
            insert(&mut claims, "scope", scope.as_str());
        }
        if let Some(groups) = &request.groups {
            insert(&mut claims, "cognito:groups", groups.as_slice());
        }
        if request.expired {
            for name in ["auth_time", "iat", "exp"] {
                let time = claims.get(name).and_then(Value::as_u64);
                let earlier = time.map(|time| time.saturating_sub(TWO_LIFETIMES));
                insert(&mut claims, name, earlier);
            }
        }
        let published = if request.id { SigningKey::Id } else { SigningKey::Access };
        let signing = if request.forged { SigningKey::Unpublished } else { published };
        Some(self.signed(published, signing, &claims))
    }

    pub(super) fn document(&self) -> Value {
        let users = self.directory().users().to_vec();
        let users = users.iter().map(|user| (user.username.clone(), self.described(user)));
        let machines = self.pool.machine_clients.iter().map(|client| {
            let scope = client.scopes.join(" ");
            let token = self.machine_token(&client.id, &scope);
            json!({"client_id": client.id, "client_secret": client.secret, "scope": scope, "access_token": token})
        });
        let mut document = Value::Object(lock(&self.announced).clone());
        insert(&mut document, "cognito", self.described_pool());
        insert(&mut document, "fault", self.fault());
        insert(&mut document, "machine_clients", machines.collect::<Vec<_>>());
        insert(&mut document, "users", users.collect::<serde_json::Map<_, _>>());
        document
    }

    fn described_pool(&self) -> Value {
        json!({
            "endpoint_url": self.url,
            "region": self.region(),
            "user_pool_id": self.pool.id,
            "app_clients": self.pool.web_clients,
            "issuer": self.issuer,
            "jwks_url": self.jwks_url(),
            "token_url": self.token_url(),
            "queue_url": self.queue_url(),
        })
    }

    fn described(&self, user: &User) -> Value {
        json!({
            "sub": user.sub,
            "password": user.password,
            "enabled": user.enabled,
            "status": user.status,
            "groups": user.groups,
            "attributes": user.attributes,
            "access_token": self.access_token(user, &self.first_sign_in(user)),
        })
    }

    fn claims(&self, request: &TokenRequest) -> Option<Value> {
        if let Some(client) = self.pool.machine_clients.iter().find(|client| client.id == request.user) {
            return Some(claims::machine_token(&self.issuer, &client.id, &client.scopes.join(" ")));
        }
        let directory = self.directory();
        let user = directory.users().iter().find(|user| {
            // By either name: AdminGetUser does not find a federated user by its `sub`.
            user.username == request.user || user.sub == request.user
        })?;
        let issue = if request.id { claims::id_token } else { claims::access_token };
        Some(issue(&self.issuer, user, &self.first_sign_in(user)))
    }
}

const TWO_LIFETIMES: u64 = 2 * claims::LIFETIME.as_secs();
