//! What an account may ask, by quota category.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        state::{State, lock},
    },
    OperationResult, parse,
};

pub(super) fn get_provisioned_limit(state: &State, input: &Value) -> OperationResult {
    let GetProvisionedLimitInput { limit_definition: request } = parse(input)?;
    let category = request.attributes.get("Category").map(String::as_str).unwrap_or_default();
    let limit = lock(&state.quotas).get(category).copied();
    let limit = limit.ok_or_else(|| ApiError::ResourceNotFound("There is no such limit.".to_owned()))?;
    Ok(json!({"Limit": {
        "LimitDefinition": {"LimitClass": "API_CATEGORY", "Attributes": request.attributes},
        "ProvisionedLimitValue": limit,
        "FreeLimitValue": limit,
    }}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetProvisionedLimitInput {
    limit_definition: LimitDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LimitDefinition {
    attributes: HashMap<String, String>,
}
