//! What leaves: one message of ours, or what a service that is not ours says.

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

use crate::wire::Encoded;

/// The body of an answer; its `Debug` shows nothing of it.
#[derive(Default)]
pub enum ResponseBody {
    /// A message in its frame, and then that all is well.
    Message(Bytes),
    /// That all is well: the trailers (gRPC over HTTP/2, "Responses").
    Trailers,
    /// Nothing more.
    #[default]
    Ended,
    /// What a service that is not ours says, or why there is no answer.
    Other(Body),
}

impl ResponseBody {
    /// Puts a message into the response of a call that succeeded.
    pub(super) fn response(message: Encoded) -> Response<Self> {
        let mut response = Response::new(Self::Message(message.into_frame()));
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
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
            Self::Trailers => (Some(Frame::trailers(success())), Self::Ended),
            rest => (None, rest),
        };
        *self = rest;
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Trailers => false,
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
// The type, and the request id.
const USUAL_HEADERS: usize = 2;

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::proto::ExpireUserResponse;

    #[tokio::test]
    async fn a_message_comes_in_its_frame_and_then_that_all_is_well() {
        let response = ResponseBody::response(Encoded::from_message(&ExpireUserResponse { held: true }));
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
}
