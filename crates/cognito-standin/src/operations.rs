//! The operations of the API: which function answers which, and how inputs are read.

mod account;
mod groups;
mod holder;
mod limits;
mod read;
mod shape;
mod signin;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{failure::Failure, state::State};

type Answer = Result<Value, Failure>;

/// Answers one call.
pub(super) fn answer(state: &State, operation: &str, input: &Value) -> Answer {
    let handler = handler(operation).ok_or(Failure::UnknownOperation)?;
    if !OUTSIDE_POOLS.contains(&operation) {
        check_pool(state, input)?;
    }
    handler(state, input)
}

fn handler(operation: &str) -> Option<fn(&State, &Value) -> Answer> {
    Some(match operation {
        "AdminGetUser" => read::admin_get_user,
        "ListUsers" => read::list_users,
        "GetProvisionedLimit" => limits::get,
        "DescribeUserPool" => read::describe_user_pool,
        "InitiateAuth" => signin::initiate_auth,
        "GetUser" => holder::get_user,
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

fn check_pool(state: &State, input: &Value) -> Result<(), Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Input {
        user_pool_id: String,
    }
    let asked = parse::<Input>(input)?.user_pool_id;
    if asked == state.pool.id {
        return Ok(());
    }
    Err(Failure::ResourceNotFound(format!("User pool {asked} does not exist.")))
}

/// Reads an input; members that are not asked for are passed over.
fn parse<T: DeserializeOwned>(input: &Value) -> Result<T, Failure> {
    T::deserialize(input).map_err(|error| Failure::InvalidParameter(error.to_string()))
}

/// The input of the operations that only name a user.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    username: String,
}

const OUTSIDE_POOLS: [&str; 3] = ["InitiateAuth", "GetProvisionedLimit", "GetUser"];
