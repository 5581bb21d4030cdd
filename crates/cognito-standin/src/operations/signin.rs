//! `InitiateAuth` and `RespondToAuthChallenge`: signing in with a password or a refresh token.

use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        claims::{LIFETIME, SignIn},
        directory::Directory,
        json::insert,
        state::State,
        user::{Status, User},
    },
    OperationResult, member,
};

pub(super) fn initiate_auth(state: &State, input: &Value) -> OperationResult {
    let (flow, client_id): (String, String) = (member(input, "AuthFlow")?, member(input, "ClientId")?);
    check_client(state, &client_id)?;
    let parameters: Value = member(input, "AuthParameters")?;
    match flow.as_str() {
        "USER_PASSWORD_AUTH" => by_password(state, &client_id, &parameters),
        "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN" => by_refresh_token(state, &client_id, &parameters),
        _ => Err(ApiError::InvalidParameter(format!("{flow} flow not enabled for this client"))),
    }
}

fn by_password(state: &State, client_id: &str, parameters: &Value) -> OperationResult {
    let (username, password): (String, String) =
        (member(parameters, "USERNAME")?, member(parameters, "PASSWORD")?);
    let mut directory = state.directory();
    let user = directory.find(&username).map_err(|_| ApiError::WRONG_PASSWORD)?.clone();
    if user.password != Some(password) {
        return Err(ApiError::WRONG_PASSWORD);
    }
    check_enabled(&user)?;
    match user.status {
        Status::Unconfirmed => return Err(ApiError::NotConfirmed),
        Status::ResetRequired => return Err(ApiError::ResetRequired),
        Status::ForceChangePassword => {
            return Ok(challenge(&user, &directory.sessions.challenge(&user.username)));
        }
        _ => {}
    }
    Ok(sign_in(state, &mut directory, &user, client_id))
}

/// The only challenge: an administrator set the password, so the user must set a new one.
pub(super) fn respond_to_challenge(state: &State, input: &Value) -> OperationResult {
    let (name, client_id): (String, String) = (member(input, "ChallengeName")?, member(input, "ClientId")?);
    let (session, responses): (String, Value) =
        (member(input, "Session")?, member(input, "ChallengeResponses")?);
    let password: String = member(&responses, "NEW_PASSWORD")?;
    check_client(state, &client_id)?;
    if name != "NEW_PASSWORD_REQUIRED" {
        return Err(ApiError::InvalidParameter(format!("{name} is not a challenge of the stand-in")));
    }
    let mut directory = state.directory();
    let username = directory.sessions.end_challenge(&session).ok_or(INVALID_SESSION)?;
    let user = directory.edit(&username, |user| {
        user.password = Some(password);
        user.status = Status::Confirmed;
    });
    let user = user?.clone();
    check_enabled(&user)?;
    Ok(sign_in(state, &mut directory, &user, &client_id))
}

/// Starts a session and returns its tokens.
fn sign_in(state: &State, directory: &mut Directory, user: &User, client_id: &str) -> Value {
    let sign_in = SignIn::new(&user.username, client_id);
    let mut tokens = tokens(state, user, &sign_in);
    insert(&mut tokens, "RefreshToken", directory.sessions.add(sign_in));
    authenticated(tokens)
}

fn by_refresh_token(state: &State, client_id: &str, parameters: &Value) -> OperationResult {
    let token: String = member(parameters, "REFRESH_TOKEN")?;
    let directory = state.directory();
    let session = directory.sessions.get(&token).filter(|session| session.client_id == client_id);
    let sign_in = session.ok_or(ApiError::NotAuthorized("Invalid Refresh Token"))?;
    let user = directory.find(&sign_in.username)?;
    check_enabled(user)?;
    Ok(authenticated(tokens(state, user, sign_in)))
}

fn tokens(state: &State, user: &User, sign_in: &SignIn) -> Value {
    json!({
        "AccessToken": state.access_token(user, sign_in),
        "IdToken": state.id_token(user, sign_in),
        "ExpiresIn": LIFETIME.as_secs(),
        "TokenType": "Bearer",
    })
}

fn authenticated(tokens: Value) -> Value {
    json!({"AuthenticationResult": tokens, "ChallengeParameters": {}})
}

fn challenge(user: &User, session: &str) -> Value {
    json!({
        "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": session,
        "ChallengeParameters": {
            "USER_ID_FOR_SRP": user.username,
            "requiredAttributes": "[]",
            "userAttributes": json!(user.attributes).to_string(),
        },
    })
}

/// Fails unless users can sign in with this app client.
pub(super) fn check_client(state: &State, client_id: &str) -> Result<(), ApiError> {
    if state.pool.web_clients.iter().any(|known| known == client_id) {
        return Ok(());
    }
    if state.pool.machine_clients.iter().any(|client| client.id == client_id) {
        return Err(ApiError::NotAuthorized(
            "Client is configured with secret but SECRET_HASH was not received",
        ));
    }
    Err(ApiError::ResourceNotFound(format!("User pool client {client_id} does not exist.")))
}

fn check_enabled(user: &User) -> Result<(), ApiError> {
    if user.enabled { Ok(()) } else { Err(ApiError::DISABLED) }
}

const INVALID_SESSION: ApiError = ApiError::NotAuthorized("Invalid session for the user.");
