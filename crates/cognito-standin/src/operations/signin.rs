//! Signing in with a password or a refresh token.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        api_error::ApiError,
        claims::{LIFETIME, SignIn},
        state::State,
        user::{Status, User},
    },
    OperationResult, parse,
};

pub(super) fn initiate_auth(state: &State, input: &Value) -> OperationResult {
    let request: InitiateAuthInput = parse(input)?;
    check_client(state, &request.client_id)?;
    match request.auth_flow.as_str() {
        "USER_PASSWORD_AUTH" => by_password(state, &request),
        "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN" => by_refresh(state, &request),
        flow => Err(ApiError::InvalidParameter(format!("{flow} flow not enabled for this client"))),
    }
}

fn by_password(state: &State, request: &InitiateAuthInput) -> OperationResult {
    let (username, password) = (request.parameter("USERNAME")?, request.parameter("PASSWORD")?);
    let mut directory = state.directory();
    let user = directory.find(username).map_err(|_| WRONG_PASSWORD)?.clone();
    if user.password.as_deref() != Some(password) {
        return Err(WRONG_PASSWORD);
    }
    check_enabled(&user)?;
    match user.status {
        Status::Unconfirmed => return Err(ApiError::NotConfirmed),
        Status::ResetRequired => return Err(ApiError::ResetRequired),
        Status::ForceChangePassword => return Ok(challenge(&user)),
        _ => {}
    }
    let sign_in = SignIn::new(&user.username, &request.client_id);
    let refresh = directory.add_session(sign_in.clone());
    Ok(tokens(state, &user, &sign_in, Some(&refresh)))
}

fn by_refresh(state: &State, request: &InitiateAuthInput) -> OperationResult {
    let directory = state.directory();
    let session = directory.session(request.parameter("REFRESH_TOKEN")?);
    let sign_in = session.filter(|session| session.client_id == request.client_id).ok_or(INVALID_REFRESH)?;
    let user = directory.find(&sign_in.username)?;
    check_enabled(user)?;
    Ok(tokens(state, user, sign_in, None))
}

fn tokens(state: &State, user: &User, sign_in: &SignIn, refresh: Option<&str>) -> Value {
    let mut result = json!({
        "AccessToken": state.access_token(user, sign_in),
        "IdToken": state.id_token(user, sign_in),
        "ExpiresIn": LIFETIME.as_secs(),
        "TokenType": "Bearer",
    });
    if let (Some(refresh), Some(fields)) = (refresh, result.as_object_mut()) {
        fields.insert("RefreshToken".to_owned(), json!(refresh));
    }
    json!({"AuthenticationResult": result, "ChallengeParameters": {}})
}

fn challenge(user: &User) -> Value {
    json!({
        "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": Uuid::new_v4().to_string(),
        "ChallengeParameters": {
            "USER_ID_FOR_SRP": user.username,
            "requiredAttributes": "[]",
            "userAttributes": json!(user.attributes).to_string(),
        },
    })
}

fn check_client(state: &State, client_id: &str) -> Result<(), ApiError> {
    if state.pool.web_clients.iter().any(|known| known == client_id) {
        return Ok(());
    }
    if state.pool.machine_clients.iter().any(|machine| machine.id == client_id) {
        return Err(ApiError::NotAuthorized(
            "Client is configured with secret but SECRET_HASH was not received",
        ));
    }
    Err(ApiError::ResourceNotFound(format!("User pool client {client_id} does not exist.")))
}

pub(super) fn check_enabled(user: &User) -> Result<(), ApiError> {
    if user.enabled { Ok(()) } else { Err(ApiError::NotAuthorized("User is disabled.")) }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InitiateAuthInput {
    auth_flow: String,
    client_id: String,
    #[serde(default)]
    auth_parameters: HashMap<String, String>,
}

impl InitiateAuthInput {
    fn parameter(&self, name: &str) -> Result<&str, ApiError> {
        let value = self.auth_parameters.get(name).map(String::as_str);
        value.ok_or_else(|| ApiError::InvalidParameter(format!("Missing required parameter {name}")))
    }
}

const WRONG_PASSWORD: ApiError = ApiError::NotAuthorized("Incorrect username or password.");
const INVALID_REFRESH: ApiError = ApiError::NotAuthorized("Invalid Refresh Token");
