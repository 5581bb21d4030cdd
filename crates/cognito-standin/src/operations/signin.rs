//! Signing in with a password or a refresh token.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        claims::{LIFETIME, SignIn},
        failure::Failure,
        person::{Person, Status},
        state::State,
    },
    Answer, parse,
};

pub(super) fn initiate_auth(state: &State, input: &Value) -> Answer {
    let asked: Initiate = parse(input)?;
    check_client(state, &asked.client_id)?;
    match asked.auth_flow.as_str() {
        "USER_PASSWORD_AUTH" => by_password(state, &asked),
        "REFRESH_TOKEN_AUTH" | "REFRESH_TOKEN" => by_refresh(state, &asked),
        flow => Err(Failure::InvalidParameter(format!("{flow} flow not enabled for this client"))),
    }
}

fn by_password(state: &State, asked: &Initiate) -> Answer {
    let (username, password) = (asked.parameter("USERNAME")?, asked.parameter("PASSWORD")?);
    let mut directory = state.directory();
    let person = directory.find(username).map_err(|_| WRONG)?.clone();
    if person.password.as_deref() != Some(password) {
        return Err(WRONG);
    }
    check_enabled(&person)?;
    match person.status {
        Status::Unconfirmed => return Err(Failure::NotConfirmed),
        Status::ResetRequired => return Err(Failure::ResetRequired),
        Status::ForceChangePassword => return Ok(challenge(&person)),
        _ => {}
    }
    let sign_in = SignIn::new(&person.username, &asked.client_id);
    let refresh = directory.open(sign_in.clone());
    Ok(tokens(state, &person, &sign_in, Some(&refresh)))
}

fn by_refresh(state: &State, asked: &Initiate) -> Answer {
    let directory = state.directory();
    let session = directory.session(asked.parameter("REFRESH_TOKEN")?);
    let sign_in = session.filter(|session| session.client_id == asked.client_id).ok_or(INVALID_REFRESH)?;
    let person = directory.find(&sign_in.username)?;
    check_enabled(person)?;
    Ok(tokens(state, person, sign_in, None))
}

fn tokens(state: &State, person: &Person, sign_in: &SignIn, refresh: Option<&str>) -> Value {
    let mut result = json!({
        "AccessToken": state.access_token(person, sign_in),
        "IdToken": state.id_token(person, sign_in),
        "ExpiresIn": LIFETIME.as_secs(),
        "TokenType": "Bearer",
    });
    if let (Some(refresh), Some(fields)) = (refresh, result.as_object_mut()) {
        fields.insert("RefreshToken".to_owned(), json!(refresh));
    }
    json!({"AuthenticationResult": result, "ChallengeParameters": {}})
}

fn challenge(person: &Person) -> Value {
    json!({
        "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": Uuid::new_v4().to_string(),
        "ChallengeParameters": {
            "USER_ID_FOR_SRP": person.username,
            "requiredAttributes": "[]",
            "userAttributes": json!(person.attributes).to_string(),
        },
    })
}

fn check_client(state: &State, client_id: &str) -> Result<(), Failure> {
    if state.pool.web_clients.iter().any(|known| known == client_id) {
        return Ok(());
    }
    if state.pool.machines.iter().any(|machine| machine.id == client_id) {
        return Err(Failure::NotAuthorized(
            "Client is configured with secret but SECRET_HASH was not received",
        ));
    }
    Err(Failure::ResourceNotFound(format!("User pool client {client_id} does not exist.")))
}

pub(super) fn check_enabled(person: &Person) -> Result<(), Failure> {
    if person.enabled { Ok(()) } else { Err(Failure::NotAuthorized("User is disabled.")) }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Initiate {
    auth_flow: String,
    client_id: String,
    #[serde(default)]
    auth_parameters: HashMap<String, String>,
}

impl Initiate {
    fn parameter(&self, name: &str) -> Result<&str, Failure> {
        let value = self.auth_parameters.get(name).map(String::as_str);
        value.ok_or_else(|| Failure::InvalidParameter(format!("Missing required parameter {name}")))
    }
}

const WRONG: Failure = Failure::NotAuthorized("Incorrect username or password.");
const INVALID_REFRESH: Failure = Failure::NotAuthorized("Invalid Refresh Token");
