//! `GetUser`: the user of an access token reads itself.

use jsonwebtoken::{Algorithm, TokenData, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{api_error::ApiError, claims::SELF_SERVICE_SCOPE, keys::SigningKey, lock::lock, state::State},
    OperationResult, member, shape, signin,
};

pub(super) fn get_user(state: &State, input: &Value) -> OperationResult {
    let token: String = member(input, "AccessToken")?;
    let username = verified_username(state, &token)?;
    let directory = state.directory();
    let user = directory.find(&username)?;
    signin::check_enabled(user)?;
    Ok(json!({"Username": user.username, "UserAttributes": shape::attributes(user)}))
}

fn verified_username(state: &State, token: &str) -> Result<String, ApiError> {
    let key = lock(&state.keys).key(SigningKey::Access).verifier();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    let data: TokenData<Claims> = decode(token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => ApiError::NotAuthorized("Access Token has expired"),
        _ => ApiError::NotAuthorized("Invalid Access Token"),
    })?;
    if !data.claims.scope.split(' ').any(|scope| scope == SELF_SERVICE_SCOPE) {
        return Err(ApiError::NotAuthorized("Access Token does not have required scopes"));
    }
    Ok(data.claims.username)
}

#[derive(Deserialize)]
struct Claims {
    username: String,
    scope: String,
}
