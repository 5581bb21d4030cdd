//! Changing users: their making and end, passwords, attributes, and whether they are enabled.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        state::State,
        user::{Status, User},
    },
    OperationResult, UsernameInput, parse,
    shape::{self, Attribute},
};

pub(super) fn create(state: &State, input: &Value) -> OperationResult {
    let request: CreateInput = parse(input)?;
    refuse_sub(request.user_attributes.iter().map(|attribute| &attribute.name))?;
    let user = User {
        password: request.temporary_password,
        attributes: shape::attribute_map(request.user_attributes),
        status: Status::ForceChangePassword,
        ..User::local(request.username, "")
    };
    let shown = shape::user(&user);
    state.directory().add(user)?;
    Ok(json!({"User": shown}))
}

pub(super) fn delete(state: &State, input: &Value) -> OperationResult {
    let request: UsernameInput = parse(input)?;
    state.directory().remove(&request.username)?;
    empty_output()
}

pub(super) fn set_password(state: &State, input: &Value) -> OperationResult {
    let request: SetPasswordInput = parse(input)?;
    let status = if request.permanent { Status::Confirmed } else { Status::ForceChangePassword };
    state.directory().edit(&request.username, |user| {
        user.password = Some(request.password);
        user.status = status;
    })?;
    empty_output()
}

pub(super) fn update_attributes(state: &State, input: &Value) -> OperationResult {
    let request: UpdateAttributesInput = parse(input)?;
    refuse_sub(request.user_attributes.iter().map(|attribute| &attribute.name))?;
    let changed = shape::attribute_map(request.user_attributes);
    state.directory().edit(&request.username, |user| user.attributes.extend(changed))?;
    empty_output()
}

pub(super) fn delete_attributes(state: &State, input: &Value) -> OperationResult {
    let request: DeleteAttributesInput = parse(input)?;
    refuse_sub(request.user_attribute_names.iter())?;
    state.directory().edit(&request.username, |user| {
        user.attributes.retain(|name, _| !request.user_attribute_names.contains(name));
    })?;
    empty_output()
}

pub(super) fn disable(state: &State, input: &Value) -> OperationResult {
    let request: UsernameInput = parse(input)?;
    let mut directory = state.directory();
    directory.edit(&request.username, |user| user.enabled = false)?;
    let username = directory.find(&request.username)?.username.clone();
    directory.revoke_sessions(&username);
    empty_output()
}

pub(super) fn enable(state: &State, input: &Value) -> OperationResult {
    let request: UsernameInput = parse(input)?;
    state.directory().edit(&request.username, |user| user.enabled = true)?;
    empty_output()
}

fn empty_output() -> OperationResult {
    Ok(json!({}))
}

fn refuse_sub<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), ApiError> {
    match names.any(|name| name == "sub") {
        true => Err(ApiError::InvalidParameter("Cannot modify the non-mutable attribute sub".to_owned())),
        false => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateInput {
    username: String,
    temporary_password: Option<String>,
    #[serde(default)]
    user_attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetPasswordInput {
    username: String,
    password: String,
    #[serde(default)]
    permanent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAttributesInput {
    username: String,
    user_attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteAttributesInput {
    username: String,
    user_attribute_names: Vec<String>,
}
