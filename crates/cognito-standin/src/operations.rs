//! The operations of the API: which function answers which, and how inputs are read.

mod account;
mod groups;
mod get_user;
mod quotas;
mod read;
mod shape;
mod signin;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{api_error::ApiError, state::State};

type OperationResult = Result<Value, ApiError>;

/// Answers one call.
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
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Input {
        user_pool_id: String,
    }
    let request = parse::<Input>(input)?.user_pool_id;
    if request == state.pool.id {
        return Ok(());
    }
    Err(ApiError::ResourceNotFound(format!("User pool {request} does not exist.")))
}

/// Reads an input; members that are not request for are passed over.
fn parse<T: DeserializeOwned>(input: &Value) -> Result<T, ApiError> {
    T::deserialize(input).map_err(|error| ApiError::InvalidParameter(error.to_string()))
}

/// The input of the operations that only name a user.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UsernameInput {
    username: String,
}

const OUTSIDE_POOLS: [&str; 3] = ["InitiateAuth", "GetProvisionedLimit", "GetUser"];
