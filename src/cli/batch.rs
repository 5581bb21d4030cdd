//! `batch`: looks up many users, a hundred in a call, and prints them in their order.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::time::sleep;
use tonic_types::{RpcStatusExt as _, pb};

use super::{
    CommandError,
    client::{self, Client, Connection},
    get::UserFields,
    print::{self, OutputFormat},
};
use crate::{
    proto::{
        self, BatchGetUsersRequest, BatchGetUsersResult, batch_get_users_request::Freshness,
        batch_get_users_result::Result as Outcome,
    },
    user::Sub,
};

/// The users to look up.
#[derive(Args, Debug)]
#[command(
    after_help = "A user that cannot be looked up has its error in its place. The exit code is that of the first error."
)]
pub(super) struct Arguments {
    /// The subs of the users; `-` alone reads them from standard input, one sub a line
    #[arg(required_unless_present = "file")]
    subs: Vec<String>,
    /// The file of the users, one sub a line; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "subs")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fields: UserFields,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    client: Client,
}

/// Looks up all users, and prints each call's results when they are complete.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { subs, file, fields, output, client } = arguments;
    let subs = match file {
        None if subs == ["-"] => read(Path::new("-"))?,
        None => subs.iter().map(|sub| client::parse_sub(sub)).collect::<Result<Vec<_>, _>>()?,
        Some(path) => read(&path)?,
    };
    let request = BatchGetUsersRequest {
        freshness: fields.age()?.map(Freshness::MaxAge),
        user_pool_id: fields.user_pool_id.unwrap_or_default(),
        attributes: fields.attributes,
        include_groups: fields.groups,
        ..BatchGetUsersRequest::default()
    };
    let connection = client.connect().await?;
    let mut first_error = None;
    for subs in subs.chunks(MAX_BATCH) {
        let subs = subs.iter().map(|sub| sub.as_str().to_owned()).collect();
        let request = BatchGetUsersRequest { subs, ..request.clone() };
        for (sub, result) in request.subs.iter().zip(look_up(&connection, &request).await?) {
            output.print("BatchGetUsersResult", &result, |result| line(sub, result))?;
            first_error = first_error.or_else(|| error(&result));
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Makes one call, and repeats it after the `RetryInfo` of users that could not be fetched in time.
async fn look_up(
    connection: &Connection,
    request: &BatchGetUsersRequest,
) -> Result<Vec<BatchGetUsersResult>, CommandError> {
    let mut results = call(connection, request.clone()).await?;
    for _ in 1..MAX_CALLS {
        let Some(delay) = results.iter().filter_map(retry_delay).max() else { break };
        sleep(delay.min(client::TIMEOUT)).await;
        let tried = request.subs.iter().zip(&results);
        let subs = tried.filter(|(_, result)| retry_delay(result).is_some()).map(|(sub, _)| sub.clone());
        let again =
            call(connection, BatchGetUsersRequest { subs: subs.collect(), ..request.clone() }).await?;
        let retried = results.iter_mut().filter(|result| retry_delay(result).is_some());
        retried.zip(again).for_each(|(result, again)| *result = again);
    }
    Ok(results)
}

async fn call(
    connection: &Connection,
    request: BatchGetUsersRequest,
) -> Result<Vec<BatchGetUsersResult>, CommandError> {
    let response = connection.users().batch_get_users(connection.request(request)).await;
    connection.finish(response).await.map(|response| response.results)
}

fn read(path: &Path) -> Result<Vec<Sub>, CommandError> {
    let text = client::read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(n, line)| {
        let error = |error| CommandError::usage(format_args!("{} line {}: {error}", path.display(), n + 1));
        line.trim().parse::<Sub>().map_err(error)
    });
    parsed.collect()
}

fn line(sub: &str, result: &BatchGetUsersResult) -> String {
    match &result.result {
        Some(Outcome::Found(found)) => print::format_user_line(found),
        Some(Outcome::Error(error)) => format!("{sub} {}", reason(error)),
        None => format!("{sub} has no result"),
    }
}

fn reason(error: &proto::Status) -> String {
    client::reason(error.code.into(), &error.message, &error.get_error_details())
}

fn error(result: &BatchGetUsersResult) -> Option<CommandError> {
    let Some(Outcome::Error(error)) = &result.result else { return None };
    let message = format!("not every user could be looked up; the first error: {}", reason(error));
    Some(CommandError::from_status(error.code.into(), message))
}

fn retry_delay(result: &BatchGetUsersResult) -> Option<Duration> {
    let Some(Outcome::Error(error)) = &result.result else { return None };
    let details: &pb::Status = error;
    details.get_details_retry_info()?.retry_delay
}

// The most that the service accepts in one call.
const MAX_BATCH: usize = 100;
// After each of which the service names a delay of a few seconds.
const MAX_CALLS: usize = 10;
