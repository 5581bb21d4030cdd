//! Users in the shapes of the API.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{api_error::ApiError, user::User};

/// Cognito's `AttributeType`. A missing value is the empty string.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    name: String,
    #[serde(default)]
    value: String,
}

/// The output of AdminGetUser.
pub(super) fn admin_user(user: &User) -> Value {
    user_json(user, "UserAttributes", attributes(user))
}

/// A `UserType`: the same with the attributes under another name.
pub(super) fn user(user: &User) -> Value {
    user_json(user, "Attributes", attributes(user))
}

/// As [`user`], with only the named attributes.
pub(super) fn user_with_attributes(user: &User, names: &[String]) -> Value {
    let mut attributes = attributes(user);
    attributes.retain(|attribute| names.iter().any(|name| attribute["Name"] == json!(name)));
    user_json(user, "Attributes", attributes)
}

/// `sub` and the attributes, as a list of names and values.
pub(super) fn attributes(user: &User) -> Vec<Value> {
    let others = user.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all = std::iter::once(("sub", user.sub.as_str())).chain(others);
    all.map(|(name, value)| json!({"Name": name, "Value": value})).collect()
}

/// Seconds since 1970, with milliseconds as AWS sends them.
pub(super) fn seconds(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!(Duration::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX)).as_secs_f64())
}

/// Reads a list of attributes. The last value of a repeated name wins. Fails if `sub` is among
/// them.
pub(super) fn attribute_map(attributes: Vec<Attribute>) -> Result<BTreeMap<String, String>, ApiError> {
    let map: BTreeMap<_, _> =
        attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect();
    if map.contains_key("sub") { Err(ApiError::immutable_sub()) } else { Ok(map) }
}

/// Checks a list of attribute names. Fails if `sub` is among them.
pub(super) fn attribute_names(names: Vec<String>) -> Result<Vec<String>, ApiError> {
    if names.iter().any(|name| name == "sub") { Err(ApiError::immutable_sub()) } else { Ok(names) }
}

fn user_json(user: &User, attributes_name: &str, attributes: Vec<Value>) -> Value {
    json!({
        "Username": user.username,
        attributes_name: attributes,
        "UserCreateDate": seconds(user.created_at),
        "UserLastModifiedDate": seconds(user.modified_at),
        "Enabled": user.enabled,
        "UserStatus": user.status,
    })
}
