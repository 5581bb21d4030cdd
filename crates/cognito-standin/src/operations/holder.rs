//! What the holder of an access token may read of itself.

use jsonwebtoken::{Algorithm, TokenData, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        claims::SELF_SERVICE_SCOPE,
        failure::Failure,
        keys::Signer,
        state::{State, lock},
    },
    Answer, parse, shape, signin,
};

pub(super) fn get_user(state: &State, input: &Value) -> Answer {
    let asked: Presented = parse(input)?;
    let username = holder(state, &asked.access_token)?;
    let directory = state.directory();
    let person = directory.find(&username)?;
    signin::check_enabled(person)?;
    Ok(json!({"Username": person.username, "UserAttributes": shape::attributes(person)}))
}

fn holder(state: &State, token: &str) -> Result<String, Failure> {
    let key = lock(&state.keys).key(Signer::Access).verifier();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    let data: TokenData<Holder> = decode(token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => Failure::NotAuthorized("Access Token has expired"),
        _ => Failure::NotAuthorized("Invalid Access Token"),
    })?;
    if !data.claims.scope.split(' ').any(|scope| scope == SELF_SERVICE_SCOPE) {
        return Err(Failure::NotAuthorized("Access Token does not have required scopes"));
    }
    Ok(data.claims.username)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Presented {
    access_token: String,
}

#[derive(Deserialize)]
struct Holder {
    username: String,
    scope: String,
}
