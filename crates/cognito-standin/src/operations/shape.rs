//! People in the shapes of the API.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::user::User;

/// Cognito's `AttributeType`; a missing value is the empty one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

/// The output of AdminGetUser.
pub(super) fn admin_user(user: &User) -> Value {
    user_json(user, "UserAttributes", attributes(user))
}

/// A `UserType`: the same with the attributes under another name.
pub(super) fn user(user: &User) -> Value {
    user_json(user, "Attributes", attributes(user))
}

/// As [`user`], with only the attributes in `wanted`.
pub(super) fn user_with_attributes(user: &User, wanted: &[String]) -> Value {
    let mut attributes = attributes(user);
    attributes.retain(|attribute| wanted.iter().any(|name| attribute.get("Name") == Some(&json!(name))));
    user_json(user, "Attributes", attributes)
}

/// `sub` and the attributes, as a list of names and values.
pub(super) fn attributes(user: &User) -> Vec<Value> {
    let others = user.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    std::iter::once(("sub", user.sub.as_str()))
        .chain(others)
        .map(|(name, value)| json!({"Name": name, "Value": value}))
        .collect()
}

/// Seconds since 1970 with the milliseconds that AWS sends.
pub(super) fn seconds(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!(Duration::from_millis(since.as_millis().try_into().unwrap_or(u64::MAX)).as_secs_f64())
}

/// A list of attributes by name; the last of a repeated name counts.
pub(super) fn attribute_map(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.name, attribute.value)).collect()
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
