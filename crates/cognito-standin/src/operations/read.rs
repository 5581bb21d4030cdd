//! The operations that read one user, all users and the pool.

use serde_json::{Value, json};

use super::{
    super::{filter::Filter, page::page, pool::ACCOUNT, state::State},
    OperationResult, list_output, member, shape, username,
};

pub(super) fn admin_get_user(state: &State, input: &Value) -> OperationResult {
    Ok(shape::admin_user(state.directory().find(&username(input)?)?))
}

pub(super) fn list_users(state: &State, input: &Value) -> OperationResult {
    let filter: Option<String> = member(input, "Filter")?;
    let filter = filter.filter(|text| !text.is_empty()).map(|text| Filter::parse(&text)).transpose()?;
    let names: Option<Vec<String>> = member(input, "AttributesToGet")?;
    let token: Option<String> = member(input, "PaginationToken")?;
    let directory = state.directory();
    let matching = directory.users().iter().filter(|user| filter.as_ref().is_none_or(|f| f.matches(user)));
    let users = matching.map(|user| match &names {
        Some(names) => shape::user_with_attributes(user, names),
        None => shape::user(user),
    });
    Ok(list_output("Users", "PaginationToken", page(users, member(input, "Limit")?, token.as_deref())?))
}

pub(super) fn describe_user_pool(state: &State, _input: &Value) -> OperationResult {
    let id = &state.pool.id;
    let region = state.region();
    Ok(json!({"UserPool": {
        "Id": id,
        "Name": "sandbox",
        "Arn": format!("arn:aws:cognito-idp:{region}:{ACCOUNT}:userpool/{id}"),
        "EstimatedNumberOfUsers": state.directory().users().len(),
        "MfaConfiguration": "OFF",
    }}))
}
