//! Decodes the one message of a unary request (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::future::pending;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, header::HeaderName};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::metadata::MetadataMap;

use crate::{error::Error, wire::FRAME_HEADER_BYTES};

/// Reads the message of a request, of at most `max_bytes`, up to the end of the body.
///
/// Fails if the message is compressed or followed by anything. Trailers are ignored: gRPC has none
/// in requests, and an `authorization` among them is no credential. Never returns if the client
/// resets the stream, because hyper then drops the call. Not cancel safe: what was read is lost.
pub(super) async fn message<Q, B>(metadata: &MetadataMap, body: &mut B, max_bytes: usize) -> Result<Q, Error>
where
    Q: Message + Default,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if is_compressed(metadata.as_ref()) {
        return Err(Error::Compressed);
    }
    let mut frame = next_bytes(body).await.ok_or(Error::Unreadable)?;
    if !is_complete(&frame, max_bytes)? {
        let mut gathered = BytesMut::from(frame);
        while !is_complete(&gathered, max_bytes)? {
            gathered.extend_from_slice(&next_bytes(body).await.ok_or(Error::Unreadable)?);
        }
        frame = gathered.freeze();
    }
    // Decoded before the rest is read: the frame keeps the connection's read buffer.
    frame.advance(FRAME_HEADER_BYTES);
    let message = Q::decode(frame).map_err(|_| Error::Unreadable)?;
    while let Some(rest) = next_bytes(body).await {
        if !rest.is_empty() {
            return Err(Error::Unreadable);
        }
    }
    Ok(message)
}

/// Returns the next bytes of a body; none at its end.
async fn next_bytes<B>(body: &mut B) -> Option<Bytes>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return None;
    }
    match body.frame().await? {
        Ok(frame) => frame.into_data().ok(),
        // hyper drops the call, which is then logged as cancelled.
        Err(_) => pending().await,
    }
}

/// Returns whether `frame` holds a whole message; fails as soon as it cannot become one.
fn is_complete(frame: &[u8], max_bytes: usize) -> Result<bool, Error> {
    let Some(([flag, length @ ..], message)) = frame.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(false);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if *flag != 0 || length > max_bytes || message.len() > length {
        return Err(Error::Unreadable);
    }
    Ok(message.len() == length)
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(GRPC_ENCODING).is_some_and(|encoding| encoding != "identity")
}

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

#[cfg(test)]
mod tests;
