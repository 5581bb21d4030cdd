//! Reading: one user, many, and the pool itself.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{failure::Failure, filter::Filter, page::page, state::State},
    Answer, Named, parse, shape,
};

pub(super) fn admin_get_user(state: &State, input: &Value) -> Answer {
    let asked: Named = parse(input)?;
    Ok(shape::admin(state.directory().find(&asked.username)?))
}

pub(super) fn list_users(state: &State, input: &Value) -> Answer {
    let asked: List = parse(input)?;
    let filter = asked.filter.as_deref().filter(|text| !text.is_empty()).map(Filter::parse).transpose()?;
    let directory = state.directory();
    let matching =
        directory.people().iter().filter(|&person| filter.as_ref().is_none_or(|f| f.matches(person)));
    let page = page(matching, asked.limit, asked.pagination_token.as_deref())?;
    let users = page.items.into_iter().map(|person| match &asked.attributes_to_get {
        Some(wanted) => shape::projected(person, wanted),
        None => shape::user(person),
    });
    let mut output = json!({"Users": users.collect::<Vec<_>>()});
    if let (Some(token), Some(fields)) = (page.next, output.as_object_mut()) {
        fields.insert("PaginationToken".to_owned(), json!(token));
    }
    Ok(output)
}

pub(super) fn describe_user_pool(state: &State, _input: &Value) -> Answer {
    let id = &state.pool.id;
    let (region, _) = id.split_once('_').ok_or(Failure::Internal)?;
    Ok(json!({"UserPool": {
        "Id": id,
        "Name": "sandbox",
        "Arn": format!("arn:aws:cognito-idp:{region}:123456789012:userpool/{id}"),
        "EstimatedNumberOfUsers": state.directory().people().len(),
        "MfaConfiguration": "OFF",
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    filter: Option<String>,
    limit: Option<u32>,
    pagination_token: Option<String>,
    attributes_to_get: Option<Vec<String>>,
}
