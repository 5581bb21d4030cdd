//! The request id, which links a call's log lines, its audit record and its response.

use std::{mem, time::SystemTime};

use http::{HeaderMap, HeaderValue, header::HeaderName};
use uuid::{Builder, fmt::Hyphenated};

/// The id of one call: 1 to 64 characters of `[A-Za-z0-9._-]`.
#[derive(Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the request's `x-request-id`, or a new UUID if that is missing or invalid.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|id| is_request_id(id.as_bytes()));
        // A copy: a clone would keep the buffer of all headers, with a token, until the response.
        let given = given.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
        Self(given.unwrap_or_else(|| new(SystemTime::now())))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Moves the id into the headers of the response without a copy; `self` is empty afterwards.
    pub(super) fn move_into(&mut self, headers: &mut HeaderMap) {
        let mut id = mem::replace(&mut self.0, HeaderValue::from_static(""));
        // Not a secret, but HPACK need not index what is sent once (RFC 7541, section 6.2.3).
        id.set_sensitive(true);
        headers.insert(REQUEST_ID, id);
    }
}

/// Makes a UUID of version 7 (RFC 9562, section 5.7). It is guessable: secure randomness costs a
/// system call.
fn new(now: SystemTime) -> HeaderValue {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid().hyphenated();
    let text = &mut [0; Hyphenated::LENGTH];
    // Hexadecimal digits and hyphens are always a valid header value.
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
    fn a_request_id_is_sent_once_and_not_indexed_by_hpack() {
        let (mut id, mut headers) = (RequestId::from_headers(&HeaderMap::new()), HeaderMap::new());
        let text = id.as_str().to_owned();
        id.move_into(&mut headers);
        assert!(headers[REQUEST_ID] == text && headers[REQUEST_ID].is_sensitive() && id.as_str().is_empty());
    }

    #[test]
    fn a_valid_request_id_is_kept_and_any_other_is_replaced() {
        let id = |id: &str| {
            let headers = [(REQUEST_ID, HeaderValue::try_from(id).unwrap())];
            RequestId::from_headers(&headers.into_iter().collect()).as_str().to_owned()
        };
        for good in ["a", "0198c5d6-1.X_y", &"x".repeat(64)] {
            assert_eq!(id(good), good);
        }
        for bad in ["", "a b", "a\"b", "a,b", &"x".repeat(65)] {
            assert_eq!(uuid::Uuid::parse_str(&id(bad)).unwrap().get_version_num(), 7, "{bad:?}");
        }
    }
}
