//! What of a request's body reaches a service that is not ours.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyStream, StreamBody};
use tokio::time::{Instant, sleep_until};
use tonic::body::Body;

/// A body without its trailers. tonic would merge them into the metadata, where a later `authorization` replaces the one
/// that a proxy before us has seen; gRPC knows no request trailers (gRPC over HTTP/2, "Requests").
#[derive(Debug)]
struct Untrailed<B>(B);

/// Returns the request for a service that is not ours: see [`Untrailed`].
pub(super) fn untrailed<B>(request: Request<B>) -> Request<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    request.map(|body| Body::new(Untrailed(body)))
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Untrailed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Returns the request with a body that ends at `deadline`, for a stream, which is not bounded otherwise: nobody may
/// keep half a message with us.
pub(super) fn ending(request: Request<Body>, deadline: Instant) -> Request<Body> {
    request.map(|body| Body::new(StreamBody::new(BodyStream::new(body).take_until(sleep_until(deadline)))))
}
