//! The operations that create, change and delete users.

use serde_json::{Value, json};

use super::{
    super::{
        state::State,
        user::{Status, User},
    },
    OperationResult, edit, member,
    shape::{self, Attribute},
    username,
};

pub(super) fn create(state: &State, input: &Value) -> OperationResult {
    let attributes: Option<Vec<Attribute>> = member(input, "UserAttributes")?;
    let user = User {
        password: member(input, "TemporaryPassword")?,
        attributes: shape::attribute_map(attributes.unwrap_or_default())?,
        status: Status::ForceChangePassword,
        ..User::local(username(input)?, "")
    };
    let output = json!({"User": shape::user(&user)});
    state.directory().add(user)?;
    Ok(output)
}

pub(super) fn delete(state: &State, input: &Value) -> OperationResult {
    state.directory().remove(&username(input)?)?;
    Ok(json!({}))
}

pub(super) fn set_password(state: &State, input: &Value) -> OperationResult {
    let password: String = member(input, "Password")?;
    let permanent: Option<bool> = member(input, "Permanent")?;
    edit(state, input, |user| {
        user.password = Some(password);
        user.status =
            if permanent.unwrap_or_default() { Status::Confirmed } else { Status::ForceChangePassword };
    })
}

pub(super) fn update_attributes(state: &State, input: &Value) -> OperationResult {
    let changed = shape::attribute_map(member(input, "UserAttributes")?)?;
    edit(state, input, |user| user.attributes.extend(changed))
}

pub(super) fn delete_attributes(state: &State, input: &Value) -> OperationResult {
    let names = shape::attribute_names(member(input, "UserAttributeNames")?)?;
    edit(state, input, |user| user.attributes.retain(|name, _| !names.contains(name)))
}

pub(super) fn disable(state: &State, input: &Value) -> OperationResult {
    let mut directory = state.directory();
    let username = directory.edit(&username(input)?, |user| user.enabled = false)?.username.clone();
    directory.sessions.revoke_all(&username);
    Ok(json!({}))
}

pub(super) fn enable(state: &State, input: &Value) -> OperationResult {
    edit(state, input, |user| user.enabled = true)
}
