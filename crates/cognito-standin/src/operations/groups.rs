//! The operations on groups. A group exists while it has members: adding a user to a new name
//! creates it.

use serde_json::{Value, json};

use super::{
    super::{page::page, state::State, user::User},
    OperationResult, edit, list_output, member, shape, username,
};

pub(super) fn list(state: &State, input: &Value) -> OperationResult {
    let token: Option<String> = member(input, "NextToken")?;
    let directory = state.directory();
    let user = directory.find(&username(input)?)?;
    let created = shape::seconds(user.created_at);
    let groups = user.groups.iter().map(|name| {
        json!({"GroupName": name, "UserPoolId": state.pool.id, "CreationDate": created, "LastModifiedDate": created})
    });
    Ok(list_output("Groups", "NextToken", page(groups, member(input, "Limit")?, token.as_deref())?))
}

pub(super) fn add(state: &State, input: &Value) -> OperationResult {
    let group: String = member(input, "GroupName")?;
    edit(state, input, |user| {
        if !user.groups.contains(&group) {
            user.groups.push(group);
        }
    })
}

pub(super) fn remove(state: &State, input: &Value) -> OperationResult {
    let group: String = member(input, "GroupName")?;
    edit(state, input, |user| user.groups.retain(|name| *name != group))
}

/// Removes the group from all its members.
pub(super) fn delete(state: &State, input: &Value) -> OperationResult {
    let group: String = member(input, "GroupName")?;
    let is_member = |user: &User| user.groups.contains(&group);
    state.directory().edit_all(is_member, |user| user.groups.retain(|name| *name != group));
    Ok(json!({}))
}
