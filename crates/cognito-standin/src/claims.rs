//! The claims of the three kinds of token that Cognito issues.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{json::insert, user::User};

/// One sign-in: the values that refreshed tokens share with the first ones.
#[derive(Clone)]
pub(super) struct SignIn {
    pub(super) username: String,
    pub(super) client_id: String,
    event_id: String,
    /// Names the family of all tokens of this sign-in.
    pub(super) origin_jti: String,
    auth_time: u64,
}

impl SignIn {
    pub(super) fn new(username: &str, client_id: &str) -> Self {
        Self {
            username: username.to_owned(),
            client_id: client_id.to_owned(),
            event_id: random(),
            origin_jti: random(),
            auth_time: now(),
        }
    }
}

/// The claims of an access token for `user`.
pub(super) fn access_token(issuer: &str, user: &User, sign_in: &SignIn) -> Value {
    let mut claims = user_claims(issuer, user, sign_in, "access");
    insert(&mut claims, "client_id", sign_in.client_id.as_str());
    insert(&mut claims, "scope", SELF_SERVICE_SCOPE);
    insert(&mut claims, "username", user.username.as_str());
    claims
}

/// The claims of an ID token for `user`, with its attributes.
pub(super) fn id_token(issuer: &str, user: &User, sign_in: &SignIn) -> Value {
    let mut claims = user_claims(issuer, user, sign_in, "id");
    insert(&mut claims, "aud", sign_in.client_id.as_str());
    insert(&mut claims, "cognito:username", user.username.as_str());
    for (name, value) in &user.attributes {
        insert(&mut claims, name, claim_value(name, value));
    }
    claims
}

/// The claims of a client-credentials token. It has no user; its `sub` is the client.
pub(super) fn machine_token(issuer: &str, client_id: &str, scope: &str) -> Value {
    let now = now();
    json!({
        "sub": client_id, "token_use": "access", "scope": scope, "auth_time": now, "iss": issuer,
        "exp": now + LIFETIME.as_secs(), "iat": now, "version": 2, "jti": random(), "client_id": client_id,
    })
}

fn user_claims(issuer: &str, user: &User, sign_in: &SignIn, token_use: &str) -> Value {
    let now = now();
    let mut claims = json!({
        "sub": user.sub, "iss": issuer, "origin_jti": sign_in.origin_jti, "event_id": sign_in.event_id,
        "token_use": token_use, "auth_time": sign_in.auth_time, "exp": now + LIFETIME.as_secs(), "iat": now,
        "jti": random(),
    });
    if !user.groups.is_empty() {
        insert(&mut claims, "cognito:groups", user.groups.as_slice());
    }
    claims
}

fn claim_value(name: &str, value: &str) -> Value {
    match name {
        "email_verified" | "phone_number_verified" => json!(value == "true"),
        "identities" => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
        _ => json!(value),
    }
}

/// The current time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn random() -> String {
    Uuid::new_v4().to_string()
}

/// How long every token is valid.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);
/// The only scope of a sign-in through the API.
pub(super) const SELF_SERVICE_SCOPE: &str = "aws.cognito.signin.user.admin";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(claims: &Value) -> Vec<&str> {
        let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_access_token_has_cognitos_claims() {
        let mut user = User::local("eve", "Secret-1");
        let sign_in = SignIn::new("eve", "client");
        let mut expected = vec![
            "auth_time",
            "client_id",
            "event_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "origin_jti",
            "scope",
            "sub",
            "token_use",
            "username",
        ];
        assert_eq!(names(&access_token("https://issuer", &user, &sign_in)), expected);
        user.groups.push("staff".to_owned());
        let claims = access_token("https://issuer", &user, &sign_in);
        expected.insert(2, "cognito:groups");
        expected.sort_unstable();
        assert_eq!(names(&claims), expected);
        assert_eq!((&claims["username"], &claims["token_use"]), (&json!("eve"), &json!("access")));
        assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|iat| iat + 3600));
    }

    #[test]
    fn an_id_token_has_the_attributes_and_no_client_id() {
        let mut user = User::local("eve", "Secret-1");
        user.attributes.insert("email_verified".to_owned(), "true".to_owned());
        user.attributes.insert("custom:plan".to_owned(), "1".to_owned());
        let claims = id_token("https://issuer", &user, &SignIn::new("eve", "client"));
        assert_eq!((&claims["email_verified"], &claims["custom:plan"]), (&json!(true), &json!("1")));
        assert_eq!((&claims["aud"], &claims["cognito:username"]), (&json!("client"), &json!("eve")));
        assert!(
            claims.get("client_id").is_none()
                && claims.get("username").is_none()
                && claims.get("scope").is_none()
        );
    }

    #[test]
    fn a_machine_token_has_no_user() {
        let claims = machine_token("https://issuer", "robot", "a/read a/write");
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("robot"), &json!("robot")));
        assert!(claims.get("username").is_none() && claims.get("cognito:groups").is_none());
    }
}
