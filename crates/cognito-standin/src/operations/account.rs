//! Changing users: their making and end, passwords, attributes, and whether they are enabled.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        failure::Failure,
        person::{Person, Status},
        state::State,
    },
    Answer, Named, parse,
    shape::{self, Attribute},
};

pub(super) fn create(state: &State, input: &Value) -> Answer {
    let asked: Create = parse(input)?;
    refuse_sub(asked.user_attributes.iter().map(|attribute| &attribute.name))?;
    let person = Person {
        password: asked.temporary_password,
        attributes: shape::collect(asked.user_attributes),
        status: Status::ForceChangePassword,
        ..Person::local(asked.username, "")
    };
    let shown = shape::user(&person);
    state.directory().add(person)?;
    Ok(json!({"User": shown}))
}

pub(super) fn delete(state: &State, input: &Value) -> Answer {
    let asked: Named = parse(input)?;
    state.directory().remove(&asked.username)?;
    done()
}

pub(super) fn set_password(state: &State, input: &Value) -> Answer {
    let asked: Password = parse(input)?;
    let status = if asked.permanent { Status::Confirmed } else { Status::ForceChangePassword };
    state.directory().edit(&asked.username, |person| {
        person.password = Some(asked.password);
        person.status = status;
    })?;
    done()
}

pub(super) fn update_attributes(state: &State, input: &Value) -> Answer {
    let asked: Update = parse(input)?;
    refuse_sub(asked.user_attributes.iter().map(|attribute| &attribute.name))?;
    let changed = shape::collect(asked.user_attributes);
    state.directory().edit(&asked.username, |person| person.attributes.extend(changed))?;
    done()
}

pub(super) fn delete_attributes(state: &State, input: &Value) -> Answer {
    let asked: Forget = parse(input)?;
    refuse_sub(asked.user_attribute_names.iter())?;
    state.directory().edit(&asked.username, |person| {
        person.attributes.retain(|name, _| !asked.user_attribute_names.contains(name));
    })?;
    done()
}

pub(super) fn disable(state: &State, input: &Value) -> Answer {
    let asked: Named = parse(input)?;
    let mut directory = state.directory();
    directory.edit(&asked.username, |person| person.enabled = false)?;
    let username = directory.find(&asked.username)?.username.clone();
    directory.revoke(&username);
    done()
}

pub(super) fn enable(state: &State, input: &Value) -> Answer {
    let asked: Named = parse(input)?;
    state.directory().edit(&asked.username, |person| person.enabled = true)?;
    done()
}

fn done() -> Answer {
    Ok(json!({}))
}

fn refuse_sub<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<(), Failure> {
    match names.any(|name| name == "sub") {
        true => Err(Failure::InvalidParameter("Cannot modify the non-mutable attribute sub".to_owned())),
        false => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    username: String,
    temporary_password: Option<String>,
    #[serde(default)]
    user_attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Password {
    username: String,
    password: String,
    #[serde(default)]
    permanent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    username: String,
    user_attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Forget {
    username: String,
    user_attribute_names: Vec<String>,
}
