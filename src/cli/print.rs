//! The output of the client commands: text for people, or one JSON object a line for programs.

use clap::Args;
use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use super::{CommandError, print_line};
use crate::proto::{self, DESCRIPTORS};

/// The format of the output.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(super) struct OutputFormat {
    /// Print one JSON object a line, in protobuf's JSON mapping
    #[arg(long)]
    json: bool,
}

impl OutputFormat {
    /// Prints a message of this name as JSON, or as the text that `lines` returns.
    pub(super) fn print<M: Message>(
        self,
        name: &str,
        message: &M,
        lines: impl FnOnce(&M) -> String,
    ) -> Result<(), CommandError> {
        if self.json { print_line(json(name, message)?) } else { print_line(lines(message)) }
    }
}

/// Returns a message as one line of JSON, without fields that have their default, as grpcurl does.
fn json<M: Message>(name: &str, message: &M) -> Result<String, CommandError> {
    let pool = descriptors().map_err(CommandError::failed)?;
    let descriptor = pool.get_message_by_name(&format!("userlookup.v1.{name}"));
    let descriptor = descriptor.ok_or_else(|| CommandError::failed("the message is in no descriptor"))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(CommandError::failed)?;
    serde_json::to_string(&message).map(|json| escape_controls(&json)).map_err(CommandError::failed)
}

/// Returns the descriptors of our messages and of the details of a status.
fn descriptors() -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::decode(DESCRIPTORS)?;
    let mut details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).unwrap_or_default();
    // Ours contain google.rpc.Status already, from a file of another name.
    let is_known = |file: &FileDescriptorProto| {
        let mut names =
            file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name()));
        names.any(|name| pool.get_message_by_name(&name).is_some())
    };
    details.file.retain(|file| !is_known(file));
    pool.add_file_descriptor_set(details)?;
    Ok(pool)
}

/// Returns a user as rows of a name and a value.
pub(super) fn format_user(answer: &proto::GetUserResponse) -> String {
    let (user, fresh) = (answer.user.clone().unwrap_or_default(), answer.freshness.unwrap_or_default());
    let status = user.status().as_str_name().trim_start_matches("USER_STATUS_").to_owned();
    let mut rows = vec![
        ("sub", user.sub),
        ("user pool", user.user_pool_id),
        ("status", if user.enabled { status } else { format!("{status}, disabled") }),
        ("username", user.username),
        ("created", user.created_at.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("updated", user.updated_at.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("groups", user.groups.join(", ")),
        ("fetched", format_freshness(&fresh)),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    rows.extend(user.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())));
    format_rows(&rows)
}

/// Returns a user as one line.
pub(super) fn format_user_line(answer: &proto::GetUserResponse) -> String {
    let user = answer.user.clone().unwrap_or_default();
    let status = user.status().as_str_name().trim_start_matches("USER_STATUS_").to_owned();
    let disabled = (!user.enabled).then(|| " disabled".to_owned());
    let named = [("username", user.username), ("groups", user.groups.join(","))];
    let named = named.into_iter().filter(|(_, value)| !value.is_empty());
    let attributes = user.attributes.into_iter();
    let pairs = named.map(|(name, value)| (name.to_owned(), value)).chain(attributes);
    let pairs = pairs.map(|(name, value)| format!(" {name}={value:?}"));
    let line = [user.sub, format!(" {status}")].into_iter().chain(disabled).chain(pairs);
    sanitized(&line.collect::<String>())
}

/// Returns rows with their values aligned.
pub(super) fn format_rows(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines = rows.iter().map(|(name, value)| sanitized(&format!("{name:width$}  {value}")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns when and where the data was fetched, and its age.
pub(super) fn format_freshness(freshness: &proto::Freshness) -> String {
    let source = freshness.source().as_str_name().trim_start_matches("SOURCE_").to_lowercase();
    let fetched = freshness.fetched_at.as_ref().map(ToString::to_string).unwrap_or_default();
    let age = freshness.age.and_then(|age| std::time::Duration::try_from(age).ok()).unwrap_or_default();
    let reason = freshness.stale_reason();
    let stale = match reason {
        proto::StaleReason::Unspecified => String::new(),
        _ => format!(", stale: {}", reason.as_str_name().trim_start_matches("STALE_REASON_")),
    };
    format!("{fetched}, {:.1} s ago, {source}{stale}", age.as_secs_f64())
}

/// Returns a text that cannot control the terminal: control characters except `\n` are replaced,
/// and so are those that reverse or end a line (Unicode Standard Annex 9, "Directional formatting
/// characters").
pub(super) fn sanitized_lines(text: &str) -> String {
    text.split('\n').map(sanitized).collect::<Vec<_>>().join("\n")
}

/// As [`sanitized_lines`], with `\n` replaced too.
pub(super) fn sanitized(text: &str) -> String {
    text.chars().map(|c| if controls_terminal(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn controls_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns JSON of the same value with those characters escaped. They occur only within strings.
fn escape_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if controls_terminal(c) {
            let mut units = [0; 2];
            text.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_cannot_control_the_terminal() {
        for c in ['\u{1b}', '\r', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{2028}', '\t', '\u{7f}'] {
            assert_eq!(sanitized(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
            assert_eq!(sanitized_lines(&format!("a\n{c}b")), "a\n\u{fffd}b", "{c:?}");
            let message = proto::BatchGetUsersRequest { subs: vec![format!("a{c}b")], ..Default::default() };
            let line = json("BatchGetUsersRequest", &message).unwrap();
            assert!(line.chars().all(|c| !controls_terminal(c)), "{line:?}");
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["subs"][0], format!("a{c}b"), "the value of the JSON is unchanged");
        }
        assert_eq!(sanitized("Zoë 李 👩\u{200d}💻"), "Zoë 李 👩\u{200d}💻");
        assert_eq!(sanitized("a\nb"), "a\u{fffd}b");
    }
}
