//! `get`: asks a running service for one user, and prints what it says as JSON, named as protobuf's JSON mapping does.

use std::{fs, io, path::PathBuf, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tonic::{Request, metadata::MetadataValue};

use super::{Exit, client, say};
use crate::{
    config,
    wire::proto::{self, get_user_request, user_service_client::UserServiceClient},
};

/// Whom to ask for, and what.
#[derive(Args, Debug)]
#[command(after_help = "The access token may also be in the environment variable COGNITO_LOOKUP_TOKEN.")]
pub(super) struct Arguments {
    /// The service's URL
    #[arg(long, value_name = "URL", default_value = client::DEFAULT_ADDRESS)]
    address: String,
    /// A file with the access token to send as `authorization: Bearer`; `-` for standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The user to look up, where that is not the token's
    #[arg(long)]
    sub: Option<String>,
    /// The pool of --sub, where the service has several
    #[arg(long, value_name = "ID")]
    user_pool_id: Option<String>,
    /// The attributes wanted, separated by commas [default: all that are released]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<String>,
    /// The oldest answer wanted, such as 10s; 0s asks Cognito now
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
}

/// Asks, and prints the user.
pub(super) async fn run(arguments: Arguments) -> Result<(), Exit> {
    let token = token(arguments.token_file)?;
    let age = arguments.max_age.map(prost_types::Duration::try_from).transpose().map_err(Exit::misused)?;
    let mut request = Request::new(proto::GetUserRequest {
        sub: arguments.sub.unwrap_or_default(),
        user_pool_id: arguments.user_pool_id.unwrap_or_default(),
        attributes: arguments.attributes,
        freshness: age.map(get_user_request::Freshness::MaxAge),
        ..proto::GetUserRequest::default()
    });
    if let Some(token) = token {
        let mut bearer = MetadataValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Exit::misused("the access token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
    }
    let mut users = UserServiceClient::new(client::connect(&arguments.address).await?);
    let response = users.get_user(request).await.map_err(|status| client::failed(&status))?.into_inner();
    say(format_args!("{:#}", json(response)))
}

fn token(file: Option<PathBuf>) -> Result<Option<String>, Exit> {
    let Some(path) = file else { return Ok(config::token()) };
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(&path) };
    let text = text.map_err(|error| Exit::misused(format_args!("{}: {error}", path.display())))?;
    Ok(Some(text.trim().to_owned()))
}

fn json(response: proto::GetUserResponse) -> Value {
    let user = response.user.unwrap_or_default();
    let freshness = response.freshness.unwrap_or_default();
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| time.to_string());
    let age = freshness.age.map(|age| age.to_string());
    let stale_reason =
        Some(freshness.stale_reason()).filter(|reason| *reason != proto::StaleReason::Unspecified);
    let stale_reason = stale_reason.map(|reason| reason.as_str_name());
    let answer = json!({
        "user": {
            "sub": user.sub,
            "userPoolId": user.user_pool_id,
            "username": Some(&user.username).filter(|name| !name.is_empty()),
            "attributes": user.attributes,
            "status": user.status().as_str_name(),
            "enabled": user.enabled,
            "createdAt": time(user.created_at),
            "updatedAt": time(user.updated_at),
            "groups": Some(&user.groups).filter(|groups| !groups.is_empty()),
        },
        "freshness": {
            "source": freshness.source().as_str_name(),
            "fetchedAt": time(freshness.fetched_at),
            "age": age,
            "staleReason": stale_reason,
        },
    });
    without_nulls(answer)
}

/// protobuf's JSON leaves out what is not set.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}
