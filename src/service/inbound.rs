//! What of a request's body reaches a service.

use std::future::ready;

use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Request;
use http_body_util::{BodyStream, StreamBody};
use tokio::time::{Instant, sleep_until};
use tonic::body::Body;

/// Returns the request without its trailers. tonic would merge them into the metadata, where a later `authorization`
/// replaces the one that a proxy before us has seen; gRPC knows no request trailers (gRPC over HTTP/2, "Requests").
pub(super) fn dropped(request: Request<Body>) -> Request<Body> {
    request.map(|body| {
        let frames = BodyStream::new(body).try_filter(|frame| ready(!frame.is_trailers()));
        Body::new(StreamBody::new(frames))
    })
}

/// Returns the request with a body that ends at `deadline`, for a stream, which is not bounded otherwise: nobody may
/// keep half a message with us.
pub(super) fn ending(request: Request<Body>, deadline: Instant) -> Request<Body> {
    request.map(|body| Body::new(StreamBody::new(BodyStream::new(body).take_until(sleep_until(deadline)))))
}
