//! The operations by which users sign up and reset their passwords themselves.

use serde_json::{Value, json};

use super::{
    super::{
        state::State,
        user::{Status, User},
    },
    OperationResult, code, edit, member,
    shape::{self, Attribute},
    signin::check_client,
    username,
};

pub(super) fn sign_up(state: &State, input: &Value) -> OperationResult {
    check_client(state, &member::<String>(input, "ClientId")?)?;
    let attributes: Option<Vec<Attribute>> = member(input, "UserAttributes")?;
    let user = User {
        attributes: shape::attribute_map(attributes.unwrap_or_default())?,
        status: Status::Unconfirmed,
        ..User::local(username(input)?, member::<String>(input, "Password")?)
    };
    let output = json!({"UserConfirmed": false, "UserSub": user.sub});
    state.directory().add(user)?;
    Ok(output)
}

pub(super) fn confirm(state: &State, input: &Value) -> OperationResult {
    check_client(state, &member::<String>(input, "ClientId")?)?;
    code::check(input, "ConfirmationCode")?;
    admin_confirm(state, input)
}

pub(super) fn admin_confirm(state: &State, input: &Value) -> OperationResult {
    edit(state, input, |user| user.status = Status::Confirmed)
}

pub(super) fn admin_reset_password(state: &State, input: &Value) -> OperationResult {
    edit(state, input, |user| user.status = Status::ResetRequired)
}

pub(super) fn confirm_forgot_password(state: &State, input: &Value) -> OperationResult {
    check_client(state, &member::<String>(input, "ClientId")?)?;
    code::check(input, "ConfirmationCode")?;
    let password: String = member(input, "Password")?;
    edit(state, input, |user| {
        user.password = Some(password);
        user.status = Status::Confirmed;
    })
}
