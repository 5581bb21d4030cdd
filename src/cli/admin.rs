//! `inspect`, `expire`, `erase` and `explain`: an operator's hands on one person's entry, for callers that may administer.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use super::{
    CommandError,
    client::{self, Client},
    print::{self, OutputFormat},
};
use crate::proto::{
    EntryState, EraseUserRequest, EraseUserResponse, ExpireUserRequest, ExplainAccessRequest,
    ExplainAccessResponse, InspectUserRequest, InspectUserResponse,
};

/// Whom it is about.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// The user's sub; `-` reads it from standard input, where no list of processes shows it
    sub: String,
    /// The user's pool, where the service has several
    #[arg(long, value_name = "ID")]
    user_pool_id: Option<String>,
    #[command(flatten)]
    output: OutputFormat,
    #[command(flatten)]
    client: Client,
}

/// Whom to forget.
#[derive(Args, Debug)]
pub(super) struct Erase {
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

/// Which caller to explain, and for whom.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// The name of the caller's rule in the settings of the service
    caller: String,
    /// The attributes asked about, separated by commas [default: all that any rule names]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Target {
    fn names(&self) -> Result<(String, String), CommandError> {
        let sub = client::parse_sub(&self.sub)?;
        Ok((sub.as_str().to_owned(), self.user_pool_id.clone().unwrap_or_default()))
    }
}

/// Asks what is held of a user.
pub(super) async fn inspect(target: Target) -> Result<(), CommandError> {
    let ((sub, user_pool_id), connection) = (target.names()?, target.client.connect().await?);
    let request = connection.request(InspectUserRequest { sub, user_pool_id });
    let answer =
        connection.admin().inspect_user(request).await.map_err(|status| client::call_failed(&status))?;
    target.output.print("InspectUserResponse", answer.get_ref(), format_entry)
}

/// Has the next read of a user ask Cognito.
pub(super) async fn expire(target: Target) -> Result<(), CommandError> {
    let ((sub, user_pool_id), connection) = (target.names()?, target.client.connect().await?);
    let request = connection.request(ExpireUserRequest { sub, user_pool_id });
    let answer =
        connection.admin().expire_user(request).await.map_err(|status| client::call_failed(&status))?;
    target.output.print("ExpireUserResponse", answer.get_ref(), |answer| {
        let held = if answer.held { "the user was held, and is asked for anew" } else { "nothing was held" };
        held.to_owned()
    })
}

/// Has a user forgotten, once somebody on a terminal said that it is meant.
pub(super) async fn erase(arguments: Erase) -> Result<(), CommandError> {
    let Erase { yes, target } = arguments;
    let (sub, user_pool_id) = target.names()?;
    if !yes {
        confirm(&format!("Forget everything about {sub} at {}?", target.client.address()))?;
    }
    let connection = target.client.connect().await?;
    let request = connection.request(EraseUserRequest { sub, user_pool_id });
    let answer =
        connection.admin().erase_user(request).await.map_err(|status| client::call_failed(&status))?;
    target.output.print("EraseUserResponse", answer.get_ref(), format_receipt)
}

/// Asks what a caller would get for a user.
pub(super) async fn explain(arguments: Explain) -> Result<(), CommandError> {
    let Explain { caller, attributes, target } = arguments;
    let ((sub, user_pool_id), connection) = (target.names()?, target.client.connect().await?);
    let request = connection.request(ExplainAccessRequest { caller, sub, user_pool_id, attributes });
    let answer =
        connection.admin().explain_access(request).await.map_err(|status| client::call_failed(&status))?;
    target.output.print("ExplainAccessResponse", answer.get_ref(), format_explanation)
}

fn confirm(question: &str) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage("nobody is there to say whether it is meant: give --yes"));
    }
    write!(io::stderr(), "{question} [y/N] ").map_err(CommandError::failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(CommandError::failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CommandError::failed("nothing was forgotten")),
    }
}

fn format_entry(answer: &InspectUserResponse) -> String {
    let state = match answer.state() {
        EntryState::Unspecified => "nothing is held",
        EntryState::Fresh => "fresh",
        EntryState::Stale => "stale: served only while Cognito cannot answer",
        EntryState::Absent => "absent: Cognito knows no such user",
    };
    let mut rows = vec![("state", state.to_owned())];
    rows.extend(answer.freshness.as_ref().map(|freshness| ("fetched", print::format_freshness(freshness))));
    let attributes = answer.attribute_names.join(", ");
    rows.extend((!attributes.is_empty()).then_some(("attributes", attributes)));
    rows.extend(answer.groups_held.then(|| ("groups", "held too".to_owned())));
    rows.extend((answer.size_bytes > 0).then(|| ("size", format!("{} bytes", answer.size_bytes))));
    rows.extend(answer.fetch_in_flight.then(|| ("fetch", "under way".to_owned())));
    print::format_rows(rows)
}

fn format_receipt(answer: &EraseUserResponse) -> String {
    print::format_rows(vec![
        ("receipt", answer.receipt_id.clone()),
        ("erased at", answer.erased_at.as_ref().map(print::format_time).unwrap_or_default()),
        ("users", answer.entries.to_string()),
        ("absences", answer.absences.to_string()),
        ("verdicts on tokens", answer.verdicts.to_string()),
        ("fetches fenced off", answer.fetches.to_string()),
    ])
}

fn format_explanation(answer: &ExplainAccessResponse) -> String {
    let word = |is_so: bool| if is_so { "released" } else { "withheld" };
    let subject = if answer.subject_allowed { "any user, by sub" } else { "its token's user only" };
    let groups = word(answer.groups_allowed).to_owned();
    let mut rows = vec![("reads", format!("{subject} ({})", answer.subject_rule)), ("groups", groups)];
    let access = |told: &crate::proto::AttributeAccess| format!("{} ({})", word(told.released), told.rule);
    rows.extend(answer.attributes.iter().map(|told| (told.attribute.as_str(), access(told))));
    print::format_rows(rows)
}
