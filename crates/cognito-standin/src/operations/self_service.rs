//! The operations by which the user of an access token reads and changes itself.

use serde_json::{Value, json};

use super::{
    super::{api_error::ApiError, state::State, user::User},
    OperationResult, access_token, code, member, shape,
};

pub(super) fn get_user(state: &State, input: &Value) -> OperationResult {
    let claims = access_token::verify(state, input)?;
    let directory = state.directory();
    let user = access_token::user(&directory, &claims)?;
    Ok(json!({"Username": user.username, "UserAttributes": shape::attributes(user)}))
}

pub(super) fn update_attributes(state: &State, input: &Value) -> OperationResult {
    let changed = shape::attribute_map(member(input, "UserAttributes")?)?;
    edit(state, input, |user| {
        user.attributes.extend(changed);
        Ok(())
    })?;
    Ok(json!({"CodeDeliveryDetailsList": []}))
}

pub(super) fn delete_attributes(state: &State, input: &Value) -> OperationResult {
    let names = shape::attribute_names(member(input, "UserAttributeNames")?)?;
    edit(state, input, |user| {
        user.attributes.retain(|name, _| !names.contains(name));
        Ok(())
    })
}

pub(super) fn verify_attribute(state: &State, input: &Value) -> OperationResult {
    let name: String = member(input, "AttributeName")?;
    code::check(input, "Code")?;
    edit(state, input, |user| {
        user.attributes.insert(format!("{name}_verified"), "true".to_owned());
        Ok(())
    })
}

pub(super) fn change_password(state: &State, input: &Value) -> OperationResult {
    let previous: Option<String> = member(input, "PreviousPassword")?;
    let proposed: String = member(input, "ProposedPassword")?;
    edit(state, input, |user| {
        if user.password != previous {
            return Err(ApiError::WRONG_PASSWORD);
        }
        user.password = Some(proposed);
        Ok(())
    })
}

pub(super) fn delete(state: &State, input: &Value) -> OperationResult {
    let claims = access_token::verify(state, input)?;
    let mut directory = state.directory();
    let username = access_token::user(&directory, &claims)?.username.clone();
    directory.remove(&username)?;
    Ok(json!({}))
}

pub(super) fn global_sign_out(state: &State, input: &Value) -> OperationResult {
    let claims = access_token::verify(state, input)?;
    let mut directory = state.directory();
    let username = access_token::user(&directory, &claims)?.username.clone();
    directory.sessions.revoke_all(&username);
    Ok(json!({}))
}

/// Changes the user of the input's access token.
fn edit(
    state: &State,
    input: &Value,
    change: impl FnOnce(&mut User) -> Result<(), ApiError>,
) -> OperationResult {
    let claims = access_token::verify(state, input)?;
    let mut directory = state.directory();
    let username = access_token::user(&directory, &claims)?.username.clone();
    let mut result = Ok(());
    directory.edit(&username, |user| result = change(user))?;
    result.map(|()| json!({}))
}
