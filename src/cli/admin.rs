//! `inspect`, `expire`, `erase` and `explain`: calls of the `AdminService` about one user.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;

use super::{
    CommandError,
    client::{self, Common},
    print,
};
use crate::proto::{
    AttributeAccess, EntryState, EraseUserRequest, EraseUserResponse, ExpireUserRequest,
    ExplainAccessRequest, ExplainAccessResponse, InspectUserRequest, InspectUserResponse, SharedEntry,
    SharedEntryState,
};

/// The user, the output format and the service.
#[derive(Args, Debug)]
pub(super) struct Target {
    /// The user's sub; `-` reads it from standard input, which process lists do not show
    sub: String,
    #[command(flatten)]
    common: Common,
}

/// The user to erase.
#[derive(Args, Debug)]
pub(super) struct Erase {
    /// Erase without asking for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

/// The caller and the user.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// The caller's `name` in the settings of the service
    caller: String,
    /// The attributes to explain, separated by commas [default: all that any rule names]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    attributes: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Target {
    fn names(&self) -> Result<(String, String), CommandError> {
        let sub = client::parse_sub(&self.sub)?;
        Ok((sub.as_str().to_owned(), self.common.user_pool_id.clone().unwrap_or_default()))
    }
}

/// Shows the cache entry of a user.
pub(super) async fn inspect(target: Target) -> Result<(), CommandError> {
    let ((sub, user_pool_id), connection) = (target.names()?, target.common.client.connect().await?);
    let request = connection.request(InspectUserRequest { sub, user_pool_id });
    let answer = connection.finish(connection.admin().inspect_user(request).await).await?;
    target.common.output.print("InspectUserResponse", &answer, format_entry)
}

/// Makes the next lookup of a user fetch from Cognito.
pub(super) async fn expire(target: Target) -> Result<(), CommandError> {
    let ((sub, user_pool_id), connection) = (target.names()?, target.common.client.connect().await?);
    let request = connection.request(ExpireUserRequest { sub, user_pool_id });
    let answer = connection.finish(connection.admin().expire_user(request).await).await?;
    target.common.output.print("ExpireUserResponse", &answer, |answer| {
        let outcome = if answer.held { EXPIRED } else { "the user was not cached" };
        format!("{outcome}{}", if answer.reached_all_replicas { ON_ALL } else { "" })
    })
}

/// Erases a user, after a confirmation on the terminal unless `--yes` is given.
pub(super) async fn erase(arguments: Erase) -> Result<(), CommandError> {
    let Erase { yes, target } = arguments;
    let (sub, user_pool_id) = target.names()?;
    if !yes {
        confirm(&format!("Erase everything about {sub} at {}?", target.common.client.address()))?;
    }
    let connection = target.common.client.connect().await?;
    let request = connection.request(EraseUserRequest { sub, user_pool_id });
    let answer = connection.finish(connection.admin().erase_user(request).await).await?;
    target.common.output.print("EraseUserResponse", &answer, format_receipt)
}

/// Shows what a caller may read of a user.
pub(super) async fn explain(arguments: Explain) -> Result<(), CommandError> {
    let Explain { caller, attributes, target } = arguments;
    let ((sub, user_pool_id), connection) = (target.names()?, target.common.client.connect().await?);
    let request = connection.request(ExplainAccessRequest { caller, sub, user_pool_id, attributes });
    let answer = connection.finish(connection.admin().explain_access(request).await).await?;
    target.common.output.print("ExplainAccessResponse", &answer, format_explanation)
}

fn confirm(question: &str) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage("standard input is not a terminal to confirm on; give --yes"));
    }
    write!(io::stderr(), "{question} [y/N] ").map_err(CommandError::failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(CommandError::failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CommandError::failed("nothing was erased")),
    }
}

fn format_entry(answer: &InspectUserResponse) -> String {
    let state = match answer.state() {
        EntryState::Unspecified => "not cached",
        EntryState::Fresh => "fresh",
        EntryState::Stale => "stale: served only while Cognito cannot answer",
        EntryState::Absent => "absent: Cognito has no such user",
    };
    let size = (answer.size_bytes > 0).then(|| format!("{} bytes", answer.size_bytes));
    let mut rows = vec![
        ("state", state.to_owned()),
        ("fetched", answer.freshness.as_ref().map(print::format_freshness).unwrap_or_default()),
        ("attributes", answer.attribute_names.join(", ")),
        ("groups", if answer.groups_held { "cached too".to_owned() } else { String::new() }),
        ("size", size.unwrap_or_default()),
        ("fetch", if answer.fetch_in_flight { "in flight".to_owned() } else { String::new() }),
        ("shared cache", answer.shared_entry.as_ref().map(format_shared_entry).unwrap_or_default()),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    print::format_rows(&rows)
}

fn format_shared_entry(entry: &SharedEntry) -> String {
    let state = match entry.state() {
        SharedEntryState::Unspecified => "a state that this version does not know",
        SharedEntryState::Unavailable => "does not answer",
        SharedEntryState::NotCached => "not cached",
        SharedEntryState::Fetching => "a replica fetches the user",
        SharedEntryState::Cached => "cached",
        SharedEntryState::Expired => "expired: served only while Cognito cannot answer",
        SharedEntryState::Absent => "absent: Cognito has no such user",
        SharedEntryState::Unreadable => "this replica cannot read the entry",
    };
    let freshness = entry.freshness.as_ref().map(print::format_freshness);
    freshness.map_or_else(|| state.to_owned(), |freshness| format!("{state}, {freshness}"))
}

fn format_receipt(answer: &EraseUserResponse) -> String {
    print::format_rows(&[
        ("receipt", answer.receipt_id.clone()),
        ("erased at", answer.erased_at.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("users", answer.entries.to_string()),
        ("negative entries", answer.absences.to_string()),
        ("verified tokens", answer.verdicts.to_string()),
        ("in-flight fetches", answer.fetches.to_string()),
        (
            "all replicas told",
            if answer.reached_all_replicas { "yes" } else { "no: no shared cache" }.to_owned(),
        ),
    ])
}

fn format_explanation(answer: &ExplainAccessResponse) -> String {
    let word = |is_so: bool| if is_so { "released" } else { "withheld" };
    let subject = if answer.subject_allowed { "any user, by sub" } else { "its token's user only" };
    let groups = word(answer.groups_allowed).to_owned();
    let mut rows = vec![("reads", format!("{subject} ({})", answer.subject_rule)), ("groups", groups)];
    let access = |access: &AttributeAccess| format!("{} ({})", word(access.released), access.rule);
    rows.extend(answer.attributes.iter().map(|attribute| (attribute.attribute.as_str(), access(attribute))));
    print::format_rows(&rows)
}

const ON_ALL: &str = "; all replicas were told";
const EXPIRED: &str = "the user was cached; the next lookup fetches from Cognito";
