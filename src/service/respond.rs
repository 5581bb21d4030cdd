//! The response of a call: one message of this contract, or the body of a built-in service.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_TYPE, HeaderName},
};
use http_body::Frame;
use tonic::{Status, body::Body};

use crate::{
    memory::{ConnectionMemory, Exhausted},
    wire::Encoded,
};

/// The body of a response. Its `Debug` shows nothing of it, because it may be personal.
#[derive(Default)]
pub enum ResponseBody {
    /// A message in its frame; the trailers follow.
    Message(Bytes),
    /// The rest of a message that is sent in parts, so that h2 gets a part only when the client
    /// has read most of those before.
    Large(Bytes, ConnectionMemory),
    /// The trailers, with the status OK (gRPC over HTTP/2, "Responses").
    Trailers,
    /// The end.
    #[default]
    Ended,
    /// The body of a built-in service, or of an error.
    Other(Body),
}

impl ResponseBody {
    /// Makes the response of a call that succeeded. Fails if there is no memory for it.
    pub(super) fn response(message: Encoded, memory: &ConnectionMemory) -> Result<Response<Self>, Exhausted> {
        let frame = message.into_frame();
        let mut response = Response::new(match frame.len() {
            ..=PART_BYTES => Self::Message(memory.response(frame)?),
            _ => Self::Large(memory.response_in_parts(frame)?, memory.clone()),
        });
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(response)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Self::Other(body) = &mut *self {
            return Pin::new(body).poll_frame(cx);
        }
        let (frame, rest) = match mem::take(&mut *self) {
            Self::Message(message) => (Some(Frame::data(message)), Self::Trailers),
            Self::Large(mut rest, memory) if rest.len() > PART_BYTES => {
                let part = memory.part(rest.split_to(PART_BYTES));
                (Some(Frame::data(part)), Self::Large(rest, memory))
            }
            Self::Large(rest, memory) => (Some(Frame::data(memory.part(rest))), Self::Trailers),
            Self::Trailers => (Some(Frame::trailers(success())), Self::Ended),
            rest => (None, rest),
        };
        *self = rest;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Large(..) | Self::Trailers => false,
            Self::Ended => true,
            Self::Other(body) => body.is_end_stream(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody(redacted)")
    }
}

fn success() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
// The content type, the accepted encodings and the request id.
const USUAL_HEADERS: usize = 3;
// A part that h2 has got keeps its memory until the client has read it.
const PART_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::proto::{self, ExpireUserResponse};

    #[tokio::test]
    async fn a_message_is_framed_and_followed_by_the_status_ok() {
        let message = Encoded::from_message(&ExpireUserResponse { held: true, reached_all_replicas: false });
        let response = ResponseBody::response(message, &ConnectionMemory::for_test()).unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        let mut body = response.into_body();
        assert!(!body.is_end_stream() && body.size_hint().exact().is_none(), "its length is no header");
        let message = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&message[..], [0, 0, 0, 0, 2, 8, 1]);
        assert!(!body.is_end_stream());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!((trailers.len(), &trailers[GRPC_STATUS]), (1, &HeaderValue::from_static("0")));
        assert!(body.is_end_stream() && body.frame().await.is_none() && body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_large_message_is_sent_in_parts() {
        for size in [PART_BYTES - 5, PART_BYTES - 4, 2 * PART_BYTES - 5, 3 * PART_BYTES] {
            let message = proto::Status { message: "x".repeat(size - 4), ..Default::default() };
            let message = Encoded::from_message(&message);
            let mut body =
                ResponseBody::response(message, &ConnectionMemory::for_test()).unwrap().into_body();
            let mut parts = Vec::new();
            while let Ok(part) = body.frame().await.unwrap().unwrap().into_data() {
                parts.push(part.len());
            }
            assert_eq!(
                (parts.iter().sum::<usize>(), parts.len()),
                (size + 5, (size + 5).div_ceil(PART_BYTES))
            );
            assert!(parts.iter().all(|part| *part <= PART_BYTES), "{parts:?}");
            assert!(body.is_end_stream());
        }
    }
}
