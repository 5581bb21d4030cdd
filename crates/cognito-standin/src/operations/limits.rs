//! What an account may ask, by quota category.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        failure::Failure,
        state::{State, lock},
    },
    Answer, parse,
};

pub(super) fn get(state: &State, input: &Value) -> Answer {
    let Limit { limit_definition: asked } = parse(input)?;
    let category = asked.attributes.get("Category").map(String::as_str).unwrap_or_default();
    let limit = lock(&state.limits).get(category).copied();
    let limit = limit.ok_or_else(|| Failure::ResourceNotFound("There is no such limit.".to_owned()))?;
    Ok(json!({"Limit": {
        "LimitDefinition": {"LimitClass": "API_CATEGORY", "Attributes": asked.attributes},
        "ProvisionedLimitValue": limit,
        "FreeLimitValue": limit,
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    limit_definition: Definition,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    attributes: HashMap<String, String>,
}
