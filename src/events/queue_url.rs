//! The URL of a queue.

use std::{fmt, str::FromStr};

use http::Uri;
use thiserror::Error;

use super::fields;

/// The URL of a standard queue of Amazon SQS, such as
/// `https://sqs.eu-west-1.amazonaws.com/123456789012/cognito-lookup-events`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueueUrl {
    text: String,
    region: Option<String>,
}

impl QueueUrl {
    /// Returns the URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the Region in the host; none for the host of an emulator.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl FromStr for QueueUrl {
    type Err = InvalidQueueUrl;

    fn from_str(text: &str) -> Result<Self, InvalidQueueUrl> {
        let uri = text.parse::<Uri>().map_err(|_| InvalidQueueUrl::NoQueue)?;
        let authority = uri.authority().ok_or(InvalidQueueUrl::NoQueue)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(InvalidQueueUrl::NoQueue);
        }
        check_path(uri.path())?;
        Ok(Self { text: text.to_owned(), region: region(authority.host()).map(ToOwned::to_owned) })
    }
}

/// Checks that a path is `/ACCOUNT/QUEUE`.
fn check_path(path: &str) -> Result<(), InvalidQueueUrl> {
    let (account, name) =
        path.strip_prefix('/').and_then(|rest| rest.split_once('/')).ok_or(InvalidQueueUrl::NoQueue)?;
    if name.ends_with(".fifo") {
        return Err(InvalidQueueUrl::Fifo);
    }
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    if is_account && (1..=80).contains(&name.len()) && name.bytes().all(in_name) {
        Ok(())
    } else {
        Err(InvalidQueueUrl::NoQueue)
    }
}

/// Finds the Region in `sqs.REGION.…`, `VPCE.sqs.REGION.…` and `REGION.queue.…` (Amazon SQS developer
/// guide, "Queue and message identifiers"; AWS general reference, "Amazon SQS endpoints").
fn region(host: &str) -> Option<&str> {
    let mut labels = host.split('.');
    let after_sqs = labels.by_ref().find(|label| *label == "sqs").and_then(|_| labels.next());
    let before_queue = || host.split_once(".queue.").map(|(region, _)| region);
    after_sqs.or_else(before_queue).and_then(fields::region)
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not the URL of a usable queue.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidQueueUrl {
    /// It has another form.
    #[error("is not the URL of a queue; expected https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")]
    NoQueue,
    /// The queue keeps an order, which changes do not need and which slows them down.
    #[error("is a FIFO queue, to which no EventBridge rule of deploy/events sends; use a standard queue")]
    Fifo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_in_the_host_of_aws() {
        for (host, region) in [
            ("sqs.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("sqs.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("eu-west-1.queue.amazonaws.com", Some("eu-west-1")),
            ("vpce-0a1b-c2d3.sqs.us-east-1.vpce.amazonaws.com", Some("us-east-1")),
            ("127.0.0.1:9229", None),
            ("sqs", None),
            ("localhost:4566", None),
        ] {
            let url: QueueUrl = format!("https://{host}/123456789012/user-changes_1").parse().unwrap();
            assert_eq!(url.region(), region, "{host}");
            assert_eq!(url.as_str(), url.to_string());
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for path in [
            "",
            "/",
            "/queue",
            "/123456789012/",
            "/12345678901/queue",
            "/123456789012/a/b",
            "/123456789012/a.b",
        ] {
            let url = format!("https://sqs.eu-west-1.amazonaws.com{path}");
            assert_eq!(url.parse::<QueueUrl>(), Err(InvalidQueueUrl::NoQueue), "{url}");
        }
        for url in [
            "",
            "arn:aws:sqs:eu-west-1:123456789012:queue",
            "sqs://eu-west-1/123456789012/queue",
            "https://user:secret@sqs.eu-west-1.amazonaws.com/123456789012/queue",
            "https://sqs.eu-west-1.amazonaws.com/123456789012/queue?a=b",
        ] {
            assert_eq!(url.parse::<QueueUrl>(), Err(InvalidQueueUrl::NoQueue), "{url}");
        }
        let fifo = "https://sqs.eu-west-1.amazonaws.com/123456789012/queue.fifo";
        assert_eq!(fifo.parse::<QueueUrl>(), Err(InvalidQueueUrl::Fifo));
    }
}
