//! Groups. They exist by having members: adding somebody to a new name makes the group.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{page::page, state::State},
    OperationResult, parse, shape,
};

pub(super) fn list(state: &State, input: &Value) -> OperationResult {
    let request: ListGroupsInput = parse(input)?;
    let directory = state.directory();
    let user = directory.find(&request.username)?;
    let page = page(user.groups.iter(), request.limit, request.next_token.as_deref())?;
    let made = shape::seconds(user.created_at);
    let groups = page.items.into_iter().map(|name| {
        json!({"GroupName": name, "UserPoolId": state.pool.id, "CreationDate": made, "LastModifiedDate": made})
    });
    let mut output = json!({"Groups": groups.collect::<Vec<_>>()});
    if let (Some(token), Some(fields)) = (page.next, output.as_object_mut()) {
        fields.insert("NextToken".to_owned(), json!(token));
    }
    Ok(output)
}

pub(super) fn add(state: &State, input: &Value) -> OperationResult {
    let request: GroupMemberInput = parse(input)?;
    state.directory().edit(&request.username, |user| {
        if !user.groups.contains(&request.group_name) {
            user.groups.push(request.group_name);
        }
    })?;
    Ok(json!({}))
}

pub(super) fn remove(state: &State, input: &Value) -> OperationResult {
    let request: GroupMemberInput = parse(input)?;
    state
        .directory()
        .edit(&request.username, |user| user.groups.retain(|name| *name != request.group_name))?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListGroupsInput {
    username: String,
    limit: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupMemberInput {
    username: String,
    group_name: String,
}
