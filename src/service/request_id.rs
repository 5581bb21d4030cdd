//! The name of a call, by which its log lines, its record and its answer are found again.

use std::{mem, time::SystemTime};

use http::{HeaderMap, HeaderValue, header::HeaderName};
use uuid::{Builder, fmt::Hyphenated};

/// Text of 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// Returns what `x-request-id` says, or a new UUID, of `now`, where that is missing or no such text.
    pub(super) fn from_headers(headers: &HeaderMap, now: SystemTime) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes()));
        // A copy: a clone would keep all that was sent with it, a token too, for as long as the answer waits.
        let given = given.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        Self(given.unwrap_or_else(|| new(now)))
    }

    /// Returns its text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Puts it where the caller looks for it, without a copy: nothing is left here.
    pub(super) fn move_into(&mut self, headers: &mut HeaderMap) {
        let mut id = mem::replace(&mut self.0, HeaderValue::from_static(""));
        // No secret: it is never sent twice, and so is of no use in HPACK's table, where h2 would compare it with all
        // that are there (RFC 7541, section 6.2.3).
        id.set_sensitive(true);
        headers.insert(REQUEST_ID, id);
    }
}

/// Makes a UUID of version 7 (RFC 9562, section 5.7). It must be another's by no accident, and nobody need fail to
/// guess it: its random bits cost no system call.
fn new(now: SystemTime) -> HeaderValue {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid().hyphenated();
    let text = &mut [0; Hyphenated::LENGTH];
    // Digits and hyphens are a header's value.
    HeaderValue::from_str(id.encode_lower(text)).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

fn is_request_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&id.len()) && id.iter().all(allowed)
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_once_and_kept_in_no_table() {
        let (mut id, mut headers) =
            (RequestId::from_headers(&HeaderMap::new(), SystemTime::now()), HeaderMap::new());
        let text = id.as_str().to_owned();
        id.move_into(&mut headers);
        assert!(headers[REQUEST_ID] == text && headers[REQUEST_ID].is_sensitive() && id.as_str().is_empty());
    }

    #[test]
    fn a_request_id_is_taken_or_made() {
        let id = |id: &str| {
            let headers = [(REQUEST_ID, HeaderValue::try_from(id).unwrap())];
            RequestId::from_headers(&headers.into_iter().collect(), SystemTime::now()).as_str().to_owned()
        };
        for good in ["a", "0198c5d6-1.X_y", &"x".repeat(64)] {
            assert_eq!(id(good), good);
        }
        for bad in ["", "a b", "a\"b", "a,b", &"x".repeat(65)] {
            assert_eq!(uuid::Uuid::parse_str(&id(bad)).unwrap().get_version_num(), 7, "{bad:?}");
        }
    }
}
