//! The operations that revoke tokens.

use serde_json::{Value, json};

use super::{super::state::State, OperationResult, member, signin::check_client, username};

pub(super) fn admin_global_sign_out(state: &State, input: &Value) -> OperationResult {
    let mut directory = state.directory();
    let username = directory.find(&username(input)?)?.username.clone();
    directory.sessions.revoke_all(&username);
    Ok(json!({}))
}

/// Revokes a refresh token and the access tokens of its family.
pub(super) fn revoke_token(state: &State, input: &Value) -> OperationResult {
    let (token, client_id): (String, String) = (member(input, "Token")?, member(input, "ClientId")?);
    check_client(state, &client_id)?;
    state.directory().sessions.revoke(&token, &client_id);
    Ok(json!({}))
}
