//! When a call must be answered.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, header::HeaderName};
use http_body::{Body, Frame};
use http_body_util::{BodyStream, StreamBody};
use tokio::time::{Instant, sleep_until};

use crate::memory::Charge;

/// Returns when a call that starts `now` must be answered: after `limit`, or shortly before its
/// `grpc-timeout` if that is earlier.
///
/// The answer must arrive before the caller's own timer ends the call, or the caller never learns
/// the reason; a tonic client then reports `CANCELLED`.
pub(super) fn of_call(timeout: Option<Duration>, now: Instant, limit: Duration) -> Instant {
    now + timeout.map_or(limit, |timeout| (timeout - margin(timeout)).min(limit))
}

/// Returns the `grpc-timeout` of a call: how long the client waits, its retries included; none if it
/// sets no limit.
pub(super) fn client_timeout(headers: &HeaderMap) -> Option<Duration> {
    grpc_timeout(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)
}

/// Returns when fetches must end so that a partial reply can be recorded and sent by `deadline`.
pub(super) fn of_fetches(deadline: Instant) -> Instant {
    deadline - margin(deadline.saturating_duration_since(Instant::now()))
}

/// Returns what must be left of `time` for the last step.
fn margin(time: Duration) -> Duration {
    (time / 10).min(MAX_MARGIN)
}

/// Ends a request's body at `deadline`, or a client could keep a half-sent message open for ever.
/// Ends it also where `charge` cannot count what the client has sent, up to `max_bytes`.
///
/// Drops its trailers: tonic's generated services merge them into the metadata, so an `authorization` there
/// could replace the one that a proxy has checked.
pub(super) fn end_body<B: Body<Data = Bytes> + Unpin>(
    body: B,
    deadline: Instant,
    mut charge: Charge,
    max_bytes: usize,
) -> impl Body<Data = Bytes, Error = B::Error> {
    let mut counted = 0;
    let mut has_room = move |bytes| {
        counted += bytes;
        counted > max_bytes || charge.grow(bytes).is_ok()
    };
    let frames = BodyStream::new(body).take_until(sleep_until(deadline));
    let frames = frames.filter(|frame| ready(!matches!(frame, Ok(frame) if frame.is_trailers())));
    StreamBody::new(frames.take_while(move |frame| {
        let data = frame.as_ref().ok().and_then(Frame::data_ref);
        ready(has_room(data.map_or(0, Bytes::len)))
    }))
}

/// Reads a `grpc-timeout`: 1 to 8 digits and a unit (gRPC over HTTP/2, "Requests").
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

// Covers the way back to a client in another zone, and its own scheduling.
const MAX_MARGIN: Duration = Duration::from_millis(50);
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::memory::ConnectionMemory;

    #[test]
    fn a_grpc_timeout_shortens_the_limit_of_the_service() {
        let table = [
            (None, 3000),
            (Some("1S"), 950),
            (Some("100m"), 90),
            (Some("10M"), 3000),
            (Some("99999999H"), 3000),
            (Some("0n"), 0),
            (Some(""), 3000),
            (Some("1"), 3000),
            (Some("S"), 3000),
            (Some("-1S"), 3000),
            (Some("1X"), 3000),
            (Some("123456789S"), 3000),
            (Some("12345678901234567890S"), 3000),
            (Some("1s"), 3000),
            (Some("1é"), 3000),
        ];
        for (header, expected) in table {
            let value = header.map(|header| HeaderValue::from_bytes(header.as_bytes()).unwrap());
            let headers = value.map(|value| (GRPC_TIMEOUT, value)).into_iter().collect();
            let now = Instant::now();
            let deadline = of_call(client_timeout(&headers), now, Duration::from_secs(3));
            assert_eq!(deadline - now, Duration::from_millis(expected), "{header:?}");
        }
    }

    #[tokio::test]
    async fn the_trailers_of_a_request_are_dropped() {
        let memory = ConnectionMemory::for_test();
        let body = http_body_util::Full::new(Bytes::from_static(b"message"));
        let trailers = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static("x"))]);
        let body = body.with_trailers(ready(Some(Ok(trailers))));
        let charge = memory.charge(0).unwrap();
        let body = end_body(Box::pin(body), Instant::now() + Duration::from_secs(60), charge, 100);
        let collected = body.collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert_eq!(collected.to_bytes(), "message");
    }
}
