//! Drops what a request carries behind its messages.

use std::future::ready;

use futures_util::TryStreamExt as _;
use http::Request;
use http_body_util::{BodyStream, StreamBody};
use tonic::body::Body;

/// Returns the request without its trailers. tonic would merge them into the metadata, where a later `authorization`
/// replaces the one that a proxy before us has seen; gRPC knows no request trailers (gRPC over HTTP/2, "Requests").
pub(super) fn dropped(request: Request<Body>) -> Request<Body> {
    request.map(|body| {
        let frames = BodyStream::new(body).try_filter(|frame| ready(!frame.is_trailers()));
        Body::new(StreamBody::new(frames))
    })
}
