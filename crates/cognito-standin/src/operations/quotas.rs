//! The quotas of an account.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    super::{api_error::ApiError, lock::lock, state::State},
    OperationResult, member,
};

pub(super) fn get_provisioned_limit(state: &State, input: &Value) -> OperationResult {
    let definition: Value = member(input, "LimitDefinition")?;
    let attributes: HashMap<String, String> = member(&definition, "Attributes")?;
    let category = attributes.get("Category").map(String::as_str).unwrap_or_default();
    let limit = lock(&state.quotas).get(category).copied();
    let limit = limit.ok_or_else(|| ApiError::ResourceNotFound("There is no such limit.".to_owned()))?;
    Ok(json!({"Limit": {
        "LimitDefinition": {"LimitClass": "API_CATEGORY", "Attributes": attributes},
        "ProvisionedLimitValue": limit,
        "FreeLimitValue": limit,
    }}))
}
