//! `watch`: prints which users change, until it is stopped.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{
    CommandError,
    client::{self, Common, Connection},
    print::{OutputFormat, sanitized},
    print_line, report,
};
use crate::proto::{
    ChangeKind, Checkpoint, UserChange, WatchUsersRequest, WatchUsersResponse, watch_users_response::Event,
};

/// The users to watch.
#[derive(Args, Debug)]
#[command(
    after_help = "It prints one line for each change and each checkpoint, and continues by itself when a stream ends. A line that \
begins with \"forget\" means that changes may have been missed: drop all copies."
)]
pub(super) struct Arguments {
    /// A user to watch, by its sub; give it once for each [default: every user]
    #[arg(long = "sub", value_name = "SUB")]
    subs: Vec<String>,
    /// A kind of change to print, such as `groups`; give it once for each [default: every kind]
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// The file with the resume token: continue from it, and write each new one to it
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Prints the changes. Fails if the first stream cannot be opened, or if a retry does not help.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { subs, kinds, resume, common: Common { user_pool_id, output, client } } = arguments;
    let subs = subs.iter().map(|sub| Ok(client::parse_sub(sub)?.as_str().to_owned()));
    let mut request = WatchUsersRequest {
        subs: subs.collect::<Result<_, CommandError>>()?,
        user_pool_id: user_pool_id.unwrap_or_default(),
        kinds: kinds.iter().map(|kind| parse_kind(kind)).collect::<Result<_, _>>()?,
        resume_token: resume.as_deref().map(read_place).transpose()?.unwrap_or_default(),
        checkpoint_interval: None,
    };
    let place = Place { file: resume, output };
    let mut connection = client.connect().await?;
    loop {
        let status = watch(&connection, &mut request, &place).await?;
        match status.code() {
            Code::OutOfRange => {
                place.forget()?;
                request.resume_token.clear();
            }
            Code::Unavailable | Code::ResourceExhausted | Code::Cancelled | Code::Unknown => {
                sleep(retry_delay(&status)).await;
                // The server may have moved. If it restarts, wait for it.
                while let Err(CommandError { message, .. }) =
                    client.connect().await.map(|new| connection = new)
                {
                    report(&message);
                    sleep(RETRY_DELAY).await;
                }
            }
            _ => return connection.finish(Err::<tonic::Response<()>, _>(status)).await,
        }
    }
}

/// Prints the messages of one stream, and returns the status with which it ended. A stream that cannot
/// be opened for lack of a connection is an error.
async fn watch(
    connection: &Connection,
    request: &mut WatchUsersRequest,
    place: &Place,
) -> Result<Status, CommandError> {
    let opened = connection.users().watch_users(connection.request(request.clone())).await;
    let mut stream = match opened {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(status),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                place.print(&message)?;
                request.resume_token = message.resume_token;
            }
            Ok(None) => return Ok(Status::unavailable("the stream ended without a status")),
            Err(status) => return Ok(status),
        }
    }
}

/// Where the command prints, and saves the resume token.
struct Place {
    file: Option<PathBuf>,
    output: OutputFormat,
}

impl Place {
    /// Prints a message, and then saves its resume token, so a message that was not printed comes
    /// again.
    fn print(&self, message: &WatchUsersResponse) -> Result<(), CommandError> {
        self.output.print("WatchUsersResponse", message, line)?;
        self.keep(&message.resume_token)
    }

    fn forget(&self) -> Result<(), CommandError> {
        print_line("forget all copies: changes may have been missed")?;
        self.keep("")
    }

    /// Replaces the file as a whole.
    fn keep(&self, token: &str) -> Result<(), CommandError> {
        let Some(path) = &self.file else { return Ok(()) };
        let new = path.with_extension("new");
        let kept = fs::write(&new, format!("{token}\n")).and_then(|()| fs::rename(&new, path));
        kept.map_err(|error| CommandError::failed(format_args!("{}: {error}", path.display())))
    }
}

fn read_place(path: &Path) -> Result<String, CommandError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        // The first time there is none.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(CommandError::usage(format_args!("{}: {error}", path.display()))),
    }
}

fn parse_kind(text: &str) -> Result<i32, CommandError> {
    let name = format!("{PREFIX}{}", text.to_uppercase().replace('-', "_"));
    let kind = ChangeKind::from_str_name(&name).filter(|kind| *kind != ChangeKind::Unspecified);
    kind.map(Into::into).ok_or_else(|| CommandError::usage(format_args!("{text:?} is not a kind of change")))
}

/// Returns the delay that the service asks for.
fn retry_delay(status: &Status) -> Duration {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    delay.unwrap_or(RETRY_DELAY).min(MAX_DELAY)
}

fn line(message: &WatchUsersResponse) -> String {
    match &message.event {
        Some(Event::Change(change)) => change_line(change),
        Some(Event::Checkpoint(checkpoint)) => checkpoint_line(checkpoint),
        None => "an event that this version does not know".to_owned(),
    }
}

fn change_line(change: &UserChange) -> String {
    let kinds = change.kinds().map(|kind| kind.as_str_name().trim_start_matches(PREFIX).to_owned());
    let time = |label: &str, time: &Option<prost_types::Timestamp>| {
        time.as_ref().map(|time| format!("{label} {time}")).into_iter()
    };
    let parts = [change.sub.clone()].into_iter().chain(kinds);
    let parts = parts.chain(time("changed", &change.changed_at)).chain(time("seen", &change.seen_at));
    let parts = parts.chain(time("tokens refused until", &change.tokens_issued_until));
    sanitized(&parts.collect::<Vec<_>>().join(" "))
}

fn checkpoint_line(checkpoint: &Checkpoint) -> String {
    let Checkpoint { seen_through, source_healthy, source_lag } = checkpoint;
    let until = seen_through.as_ref().map(ToString::to_string).unwrap_or_default();
    let health = if *source_healthy { "healthy" } else { "not healthy: use a TTL" };
    let lag = source_lag.and_then(|lag| Duration::try_from(lag).ok());
    let lag = lag.map(|lag| format!(", {} s late", lag.as_secs())).unwrap_or_default();
    format!("checkpoint {until}, source {health}{lag}")
}

const PREFIX: &str = "CHANGE_KIND_";
const RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_in_any_case() {
        for (text, kind) in [("groups", 2), ("SIGNED_OUT", 8), ("signed-out", 8)] {
            assert_eq!(parse_kind(text).ok(), Some(kind), "{text}");
        }
        for bad in ["", "unspecified", "group"] {
            assert!(parse_kind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_message_is_one_line() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let change = UserChange {
            sub: "ada\u{1b}".to_owned(),
            kinds: vec![6, 8],
            changed_at: at(1),
            seen_at: at(2),
            tokens_issued_until: at(1),
            ..UserChange::default()
        };
        let checkpoint = Checkpoint {
            seen_through: at(3),
            source_healthy: true,
            source_lag: Some(prost_types::Duration { seconds: 4, nanos: 0 }),
        };
        let table = [
            (
                Event::Change(change),
                "ada\u{fffd} DISABLED SIGNED_OUT changed 1970-01-01T00:00:01Z seen 1970-01-01T00:00:02Z tokens refused until 1970-01-01T00:00:01Z",
            ),
            (Event::Checkpoint(checkpoint), "checkpoint 1970-01-01T00:00:03Z, source healthy, 4 s late"),
            (
                Event::Checkpoint(Checkpoint { seen_through: at(3), ..Checkpoint::default() }),
                "checkpoint 1970-01-01T00:00:03Z, source not healthy: use a TTL",
            ),
        ];
        for (event, expected) in table {
            let message = WatchUsersResponse { event: Some(event), resume_token: String::new() };
            assert_eq!(line(&message), expected);
        }
    }

    #[test]
    fn the_place_is_kept_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("place");
        assert_eq!(read_place(&path).ok(), Some(String::new()), "the first time there is none");
        let output = OutputFormat::default();
        let place = Place { file: Some(path.clone()), output };
        place.keep("token-1").unwrap();
        assert_eq!(read_place(&path).ok().as_deref(), Some("token-1"));
        assert!(read_place(folder.path()).is_err());
    }
}
