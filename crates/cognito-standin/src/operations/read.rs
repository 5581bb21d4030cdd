//! Reading: one user, many, and the pool itself.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{api_error::ApiError, filter::Filter, page::page, state::State},
    OperationResult, UsernameInput, parse, shape,
};

pub(super) fn admin_get_user(state: &State, input: &Value) -> OperationResult {
    let request: UsernameInput = parse(input)?;
    Ok(shape::admin_user(state.directory().find(&request.username)?))
}

pub(super) fn list_users(state: &State, input: &Value) -> OperationResult {
    let request: ListUsersInput = parse(input)?;
    let filter = request.filter.as_deref().filter(|text| !text.is_empty()).map(Filter::parse).transpose()?;
    let directory = state.directory();
    let matching = directory.users().iter().filter(|&user| filter.as_ref().is_none_or(|f| f.matches(user)));
    let page = page(matching, request.limit, request.pagination_token.as_deref())?;
    let users = page.items.into_iter().map(|user| match &request.attributes_to_get {
        Some(wanted) => shape::user_with_attributes(user, wanted),
        None => shape::user(user),
    });
    let mut output = json!({"Users": users.collect::<Vec<_>>()});
    if let (Some(token), Some(fields)) = (page.next, output.as_object_mut()) {
        fields.insert("PaginationToken".to_owned(), json!(token));
    }
    Ok(output)
}

pub(super) fn describe_user_pool(state: &State, _input: &Value) -> OperationResult {
    let id = &state.pool.id;
    let (region, _) = id.split_once('_').ok_or(ApiError::Internal)?;
    Ok(json!({"UserPool": {
        "Id": id,
        "Name": "sandbox",
        "Arn": format!("arn:aws:cognito-idp:{region}:123456789012:userpool/{id}"),
        "EstimatedNumberOfUsers": state.directory().users().len(),
        "MfaConfiguration": "OFF",
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListUsersInput {
    filter: Option<String>,
    limit: Option<u32>,
    pagination_token: Option<String>,
    attributes_to_get: Option<Vec<String>>,
}
