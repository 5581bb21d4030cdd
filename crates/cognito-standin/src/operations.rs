//! The operations of the API, and how they read their inputs.

mod access_token;
mod account;
mod code;
mod groups;
mod quotas;
mod read;
mod self_service;
mod shape;
mod sign_out;
mod signin;
mod signup;
mod subject;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    api_error::ApiError,
    events::{self, Occurrence},
    json::{self, insert},
    page::Page,
    state::State,
    user::User,
};

type OperationResult = Result<Value, ApiError>;

/// Executes one call, and publishes the event of a change.
pub(super) fn execute(state: &State, operation: &str, input: &Value) -> OperationResult {
    let handler = handler(operation).ok_or(ApiError::UnknownOperation)?;
    if READS.contains(&operation) {
        return checked(state, operation, input, handler);
    }
    // A new user can be found only after the call, a deleted one only before it.
    let sub = subject::subject(state, input);
    let result = checked(state, operation, input, handler);
    let sub = sub.or_else(|| subject::subject(state, input));
    let error = result.as_ref().err();
    events::publish(state, &Occurrence { operation, input, sub: sub.as_deref(), error });
    result
}

type Handler = fn(&State, &Value) -> OperationResult;

fn checked(state: &State, operation: &str, input: &Value, handler: Handler) -> OperationResult {
    if operation.starts_with("Admin") || OTHERS_WITH_A_POOL.contains(&operation) {
        check_pool(state, input)?;
    }
    handler(state, input)
}

fn handler(operation: &str) -> Option<Handler> {
    Some(match operation {
        "AdminGetUser" => read::admin_get_user,
        "ListUsers" => read::list_users,
        "GetProvisionedLimit" => quotas::get_provisioned_limit,
        "DescribeUserPool" => read::describe_user_pool,
        "InitiateAuth" => signin::initiate_auth,
        "RespondToAuthChallenge" => signin::respond_to_challenge,
        "GetUser" => self_service::get_user,
        "UpdateUserAttributes" => self_service::update_attributes,
        "DeleteUserAttributes" => self_service::delete_attributes,
        "VerifyUserAttribute" => self_service::verify_attribute,
        "ChangePassword" => self_service::change_password,
        "DeleteUser" => self_service::delete,
        "GlobalSignOut" => self_service::global_sign_out,
        "RevokeToken" => sign_out::revoke_token,
        "SignUp" => signup::sign_up,
        "ConfirmSignUp" => signup::confirm,
        "ConfirmForgotPassword" => signup::confirm_forgot_password,
        _ => return admin_handler(operation),
    })
}

fn admin_handler(operation: &str) -> Option<Handler> {
    Some(match operation {
        "AdminCreateUser" => account::create,
        "AdminDeleteUser" => account::delete,
        "AdminConfirmSignUp" => signup::admin_confirm,
        "AdminSetUserPassword" => account::set_password,
        "AdminResetUserPassword" => signup::admin_reset_password,
        "AdminUpdateUserAttributes" => account::update_attributes,
        "AdminDeleteUserAttributes" => account::delete_attributes,
        "AdminDisableUser" => account::disable,
        "AdminEnableUser" => account::enable,
        "AdminUserGlobalSignOut" => sign_out::admin_global_sign_out,
        "AdminListGroupsForUser" => groups::list,
        "AdminAddUserToGroup" => groups::add,
        "AdminRemoveUserFromGroup" => groups::remove,
        "DeleteGroup" => groups::delete,
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
    json::member(input, name).map_err(|error| ApiError::InvalidParameter(format!("{name}: {error}")))
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

/// The operations that change nothing that the service reads.
const READS: [&str; 7] = [
    "AdminGetUser",
    "AdminListGroupsForUser",
    "DescribeUserPool",
    "GetProvisionedLimit",
    "GetUser",
    "InitiateAuth",
    "ListUsers",
];
const OTHERS_WITH_A_POOL: [&str; 3] = ["DeleteGroup", "DescribeUserPool", "ListUsers"];
