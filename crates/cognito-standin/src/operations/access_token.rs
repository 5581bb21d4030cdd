//! The access token by which a user calls an operation without AWS credentials.

use jsonwebtoken::{Algorithm, TokenData, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        api_error::ApiError, claims::SELF_SERVICE_SCOPE, directory::Directory, keys::SigningKey, lock::lock,
        state::State, user::User,
    },
    member,
};

/// The claims that say whose token it is, and whether it is revoked.
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    username: String,
    scope: String,
    #[serde(default)]
    origin_jti: String,
    iat: u64,
}

/// Verifies the signature, the lifetime and the scope of the `AccessToken` of an input.
pub(super) fn verify(state: &State, input: &Value) -> Result<Claims, ApiError> {
    let token: String = member(input, "AccessToken")?;
    let key = lock(&state.keys).key(SigningKey::Access).verifier();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    let data: TokenData<Claims> = decode(&token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => ApiError::NotAuthorized("Access Token has expired"),
        _ => ApiError::NotAuthorized("Invalid Access Token"),
    })?;
    if !data.claims.scope.split(' ').any(|scope| scope == SELF_SERVICE_SCOPE) {
        return Err(ApiError::NotAuthorized("Access Token does not have required scopes"));
    }
    Ok(data.claims)
}

/// Returns the user of a verified token. Fails if the user is gone or disabled, or the token is
/// revoked.
pub(super) fn user<'a>(directory: &'a Directory, claims: &Claims) -> Result<&'a User, ApiError> {
    let user = directory.find(&claims.username)?;
    if !user.enabled {
        return Err(ApiError::DISABLED);
    }
    let revoked = directory.sessions.is_revoked(&user.username, &claims.origin_jti, claims.iat);
    // Another user may have the name of a deleted one.
    if revoked || user.sub != claims.sub {
        return Err(ApiError::NotAuthorized("Access Token has been revoked"));
    }
    Ok(user)
}
