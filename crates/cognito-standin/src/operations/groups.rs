//! Groups. They exist by having members: adding somebody to a new name makes the group.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{page::page, state::State},
    Answer, parse, shape,
};

pub(super) fn list(state: &State, input: &Value) -> Answer {
    let asked: List = parse(input)?;
    let directory = state.directory();
    let person = directory.find(&asked.username)?;
    let page = page(person.groups.iter(), asked.limit, asked.next_token.as_deref())?;
    let made = shape::seconds(person.created_at);
    let groups = page.items.into_iter().map(|name| {
        json!({"GroupName": name, "UserPoolId": state.pool.id, "CreationDate": made, "LastModifiedDate": made})
    });
    let mut output = json!({"Groups": groups.collect::<Vec<_>>()});
    if let (Some(token), Some(fields)) = (page.next, output.as_object_mut()) {
        fields.insert("NextToken".to_owned(), json!(token));
    }
    Ok(output)
}

pub(super) fn add(state: &State, input: &Value) -> Answer {
    let asked: Member = parse(input)?;
    state.directory().edit(&asked.username, |person| {
        if !person.groups.contains(&asked.group_name) {
            person.groups.push(asked.group_name);
        }
    })?;
    Ok(json!({}))
}

pub(super) fn remove(state: &State, input: &Value) -> Answer {
    let asked: Member = parse(input)?;
    state
        .directory()
        .edit(&asked.username, |person| person.groups.retain(|name| *name != asked.group_name))?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    username: String,
    limit: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    username: String,
    group_name: String,
}
