//! `get`: looks up one user.

use std::time::Duration;

use clap::Args;

use super::{
    CommandError,
    client::{self, Client},
    print::{self, OutputFormat},
};
use crate::proto::{GetUserRequest, get_user_request::Freshness};

/// The user to look up.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The user's sub; `-` reads it from standard input [default: the user of the token]
    #[arg(long)]
    sub: Option<String>,
    #[command(flatten)]
    fields: UserFields,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    client: Client,
}

/// What to look up of each user.
#[derive(Args, Debug)]
pub(super) struct UserFields {
    /// The user's pool, if the service has several
    #[arg(long, value_name = "ID")]
    pub(super) user_pool_id: Option<String>,
    /// The attributes to return, separated by commas [default: all that the caller may read]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) attributes: Vec<String>,
    /// Return the user's groups too
    #[arg(long)]
    pub(super) groups: bool,
    /// The maximum age, such as 10s; 0s fetches from Cognito [default: `cache.fresh_for`]
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<Duration>,
}

impl UserFields {
    /// Returns the maximum age as a protobuf duration.
    pub(super) fn age(&self) -> Result<Option<prost_types::Duration>, CommandError> {
        self.max_age.map(prost_types::Duration::try_from).transpose().map_err(CommandError::usage)
    }
}

/// Looks up the user and prints it.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { sub, fields, output, client } = arguments;
    // The service validates any other value.
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
    let answer = connection.finish(connection.users().get_user(request).await).await?;
    output.print("GetUserResponse", &answer, print::format_user)
}
