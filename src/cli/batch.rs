//! `batch`: asks a running service for many users, a hundred at a time, and prints them in their order.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;
use tonic::{Code, Status};
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
        batch_get_users_result::Result as Item,
    },
    user::Sub,
};

/// Whom to ask for, and what.
#[derive(Args, Debug)]
#[command(
    after_help = "A user that cannot be had is told in its place, and the exit code is that of the first such one."
)]
pub(super) struct Arguments {
    /// The users to look up; `-` alone reads them from standard input, one sub a line
    #[arg(required_unless_present = "file")]
    subs: Vec<String>,
    /// A file with the users to look up, one sub a line; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "subs")]
    file: Option<PathBuf>,
    #[command(flatten)]
    fields: UserFields,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    client: Client,
}

/// Asks for all of them; what the service could not reach in time is asked for again when it says so.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { subs, file, fields, output, client } = arguments;
    let subs = match file {
        None if subs == ["-"] => read(&PathBuf::from("-"))?,
        None => subs.iter().map(|sub| client::parse_sub(sub)).collect::<Result<Vec<_>, _>>()?,
        Some(path) => read(&path)?,
    };
    let message = BatchGetUsersRequest {
        freshness: fields.age()?.map(Freshness::MaxAge),
        user_pool_id: fields.user_pool_id.unwrap_or_default(),
        attributes: fields.attributes,
        include_groups: fields.groups,
        ..BatchGetUsersRequest::default()
    };
    let connection = client.connect().await?;
    let progress = progress(subs.len());
    let mut first = None;
    for chunk in subs.chunks(MAX_BATCH) {
        let names: Vec<_> = chunk.iter().map(|sub| sub.as_str().to_owned()).collect();
        for (sub, item) in names.iter().zip(ask(&connection, &message, names.clone()).await?) {
            // So that the two do not write into each other.
            progress.suspend(|| output.print("BatchGetUsersResult", &item, |item| line(sub, item)))?;
            first = first.or_else(|| failure(&item));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    first.map_or(Ok(()), Err)
}

/// Asks for a chunk until nothing in it is worth asking for again.
async fn ask(
    connection: &Connection,
    message: &BatchGetUsersRequest,
    subs: Vec<String>,
) -> Result<Vec<BatchGetUsersResult>, CommandError> {
    let mut items = vec![BatchGetUsersResult::default(); subs.len()];
    let mut open: Vec<usize> = (0..subs.len()).collect();
    for _ in 0..MAX_ROUNDS {
        let fields = open.iter().filter_map(|at| subs.get(*at).cloned()).collect();
        let request = connection.request(BatchGetUsersRequest { subs: fields, ..message.clone() });
        let answer = connection
            .users()
            .batch_get_users(request)
            .await
            .map_err(|status| client::call_failed(&status))?;
        let mut wait = None;
        let mut still = Vec::new();
        for (at, item) in open.iter().zip(answer.into_inner().results) {
            if let Some(delay) = delay(&item) {
                wait = wait.max(Some(delay));
                still.push(*at);
            }
            if let Some(place) = items.get_mut(*at) {
                *place = item;
            }
        }
        open = still;
        match wait {
            None => break,
            Some(delay) => sleep(delay.min(client::TIMEOUT)).await,
        }
    }
    Ok(items)
}

fn read(path: &PathBuf) -> Result<Vec<Sub>, CommandError> {
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    let text = text.map_err(|error| CommandError::usage(format_args!("{}: {error}", path.display())))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(n, line)| {
        let fault = |error| CommandError::usage(format_args!("{} line {}: {error}", path.display(), n + 1));
        line.trim().parse::<Sub>().map_err(fault)
    });
    parsed.collect()
}

/// Shown on a terminal only, and where there is something to wait for.
fn progress(users: usize) -> ProgressBar {
    if users <= MAX_BATCH || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(users.try_into().unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} users, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn line(sub: &str, item: &BatchGetUsersResult) -> String {
    match &item.result {
        Some(Item::Found(found)) => print::format_user_line(found),
        Some(Item::Error(error)) => format!("{sub} {}", told(error)),
        None => format!("{sub} nothing was answered"),
    }
}

fn told(error: &proto::Status) -> String {
    client::reason(&format!("{:?}", Code::from(error.code)), &error.message, &error.get_error_details())
}

fn failure(item: &BatchGetUsersResult) -> Option<CommandError> {
    let Some(Item::Error(error)) = &item.result else { return None };
    let status = Status::new(error.code.into(), "");
    Some(CommandError::from_status(
        &status,
        format!("not everybody could be had; the first failure: {}", told(error)),
    ))
}

fn delay(item: &BatchGetUsersResult) -> Option<Duration> {
    let Some(Item::Error(error)) = &item.result else { return None };
    let details: &pb::Status = error;
    details.get_details_retry_info()?.retry_delay
}

// The most that the service takes.
const MAX_BATCH: usize = 100;
// At a few seconds each.
const MAX_ROUNDS: usize = 10;
