//! The operations of the API, and how they read their inputs.

mod account;
mod get_user;
mod groups;
mod quotas;
mod read;
mod shape;
mod signin;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{api_error::ApiError, json::insert, page::Page, state::State, user::User};

type OperationResult = Result<Value, ApiError>;

/// Executes one call.
pub(super) fn execute(state: &State, operation: &str, input: &Value) -> OperationResult {
    let handler = handler(operation).ok_or(ApiError::UnknownOperation)?;
    if !OUTSIDE_POOLS.contains(&operation) {
        check_pool(state, input)?;
    }
    handler(state, input)
}

fn handler(operation: &str) -> Option<fn(&State, &Value) -> OperationResult> {
    Some(match operation {
        "AdminGetUser" => read::admin_get_user,
        "ListUsers" => read::list_users,
        "GetProvisionedLimit" => quotas::get_provisioned_limit,
        "DescribeUserPool" => read::describe_user_pool,
        "InitiateAuth" => signin::initiate_auth,
        "GetUser" => get_user::get_user,
        "AdminCreateUser" => account::create,
        "AdminDeleteUser" => account::delete,
        "AdminSetUserPassword" => account::set_password,
        "AdminUpdateUserAttributes" => account::update_attributes,
        "AdminDeleteUserAttributes" => account::delete_attributes,
        "AdminDisableUser" => account::disable,
        "AdminEnableUser" => account::enable,
        "AdminListGroupsForUser" => groups::list,
        "AdminAddUserToGroup" => groups::add,
        "AdminRemoveUserFromGroup" => groups::remove,
        _ => return None,
    })
}

fn check_pool(state: &State, input: &Value) -> Result<(), ApiError> {
    let id: String = member(input, "UserPoolId")?;
    if id == state.pool.id {
        return Ok(());
    }
    Err(ApiError::ResourceNotFound(format!("User pool {id} does not exist.")))
}

/// Reads one member of an input. A missing one is null, which an `Option` accepts.
fn member<T: DeserializeOwned>(input: &Value, name: &str) -> Result<T, ApiError> {
    let member = input.get(name).unwrap_or(&Value::Null);
    T::deserialize(member).map_err(|error| ApiError::InvalidParameter(format!("{name}: {error}")))
}

fn username(input: &Value) -> Result<String, ApiError> {
    member(input, "Username")
}

/// Changes the user that `input` names.
fn edit(state: &State, input: &Value, change: impl FnOnce(&mut User)) -> OperationResult {
    state.directory().edit(&username(input)?, change)?;
    Ok(json!({}))
}

/// Makes the output of a list operation; the last page has no token.
fn list_output(name: &str, token_name: &str, page: Page<Value>) -> Value {
    let mut output = json!({name: page.items});
    if let Some(token) = page.next {
        insert(&mut output, token_name, token);
    }
    output
}

const OUTSIDE_POOLS: [&str; 3] = ["InitiateAuth", "GetProvisionedLimit", "GetUser"];
