//! `get`: asks a running service for one user.

use std::time::Duration;

use clap::Args;

use super::{
    CommandError,
    client::{self, Client},
    print::{self, OutputFormat},
};
use crate::proto::{GetUserRequest, get_user_request::Freshness};

/// Whom to ask for, and what.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The user to look up, where that is not the token's; `-` reads it from standard input, where no list of processes
    /// shows it
    #[arg(long)]
    sub: Option<String>,
    #[command(flatten)]
    fields: UserFields,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    client: Client,
}

/// What to ask about each user.
#[derive(Args, Debug)]
pub(super) struct UserFields {
    /// The user's pool, where the service has several
    #[arg(long, value_name = "ID")]
    pub(super) user_pool_id: Option<String>,
    /// The attributes wanted, separated by commas [default: all that are released]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) attributes: Vec<String>,
    /// Ask for the user's groups too
    #[arg(long)]
    pub(super) groups: bool,
    /// The oldest answer wanted, such as 10s; 0s asks Cognito now [default: what the service holds for fresh]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
}

impl UserFields {
    /// Returns the oldest age wanted.
    pub(super) fn age(&self) -> Result<Option<prost_types::Duration>, CommandError> {
        self.max_age.map(prost_types::Duration::try_from).transpose().map_err(CommandError::usage)
    }
}

/// Asks, and prints the user.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { sub, fields, output, client } = arguments;
    // Any other is the service's to judge.
    let sub = match sub.as_deref() {
        Some("-") => client::parse_sub("-")?.as_str().to_owned(),
        given => given.unwrap_or_default().to_owned(),
    };
    let connection = client.connect().await?;
    let request = connection.request(GetUserRequest {
        sub,
        freshness: fields.age()?.map(Freshness::MaxAge),
        user_pool_id: fields.user_pool_id.unwrap_or_default(),
        attributes: fields.attributes,
        include_groups: fields.groups,
        ..GetUserRequest::default()
    });
    let answer = connection.users().get_user(request).await.map_err(|status| client::call_failed(&status))?;
    output.print("GetUserResponse", answer.get_ref(), print::format_user)
}
