//! Decodes the one message of a unary request (gRPC over HTTP/2, "Length-Prefixed-Message").

use std::{future::pending, io::Read as _};

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::bufread::GzDecoder;
use http::{HeaderMap, header::HeaderName};
use http_body_util::BodyExt as _;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, skip_field},
};
use tonic::metadata::MetadataMap;

use crate::{error::Error, memory::Charge, wire::FRAME_HEADER_BYTES};

/// Reads the message of a request, of at most `max_bytes`, up to the end of the body. Counts the
/// memory of what it gathers and decodes.
///
/// Fails if the message is followed by anything. Trailers are ignored: gRPC has none in requests,
/// and an `authorization` among them is no credential. Never returns if the client resets the
/// stream, because hyper then drops the call. Not cancel safe: what was read is lost.
pub(super) async fn message<Q, B>(
    metadata: &MetadataMap,
    body: &mut B,
    max_bytes: usize,
    charge: &mut Charge,
) -> Result<Q, Error>
where
    Q: Message + Default,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut frame = next_bytes(body).await.ok_or(Error::Unreadable)?;
    if missing(&frame, max_bytes)? > 0 {
        frame = gather(frame, body, max_bytes, charge).await?;
    }
    // Decoded before the rest is read: the frame keeps the connection's read buffer.
    let is_compressed = frame.first().is_some_and(|flag| *flag == COMPRESSED);
    frame.advance(FRAME_HEADER_BYTES);
    let message = if is_compressed {
        decode(&inflate(&frame, metadata.as_ref(), max_bytes)?, charge)?
    } else {
        decode(&frame, charge)?
    };
    drop(frame);
    while let Some(rest) = next_bytes(body).await {
        if !rest.is_empty() {
            return Err(Error::Unreadable);
        }
    }
    Ok(message)
}

/// Gathers a message that comes in several parts.
async fn gather<B>(first: Bytes, body: &mut B, max_bytes: usize, charge: &mut Charge) -> Result<Bytes, Error>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut gathered = BytesMut::from(first);
    loop {
        let missing = missing(&gathered, max_bytes)?;
        if missing == 0 {
            return Ok(gathered.freeze());
        }
        let next = next_bytes(body).await.ok_or(Error::Unreadable)?;
        if next.len() > gathered.capacity() - gathered.len() {
            // Twice what has come, so that a declared length alone takes no memory.
            let room = missing.min(2 * (gathered.len() + next.len())).max(next.len());
            charge.grow(gathered.len() + room)?;
            gathered.reserve(room);
        }
        gathered.extend_from_slice(&next);
    }
}

/// Decodes a message. Its memory counts if it is more than the call itself counts for.
fn decode<Q: Message + Default>(bytes: &[u8], charge: &mut Charge) -> Result<Q, Error> {
    if bytes.len() > SMALL_BYTES {
        let fields = fields(bytes).map_err(|_| Error::Unreadable)?;
        charge.grow(bytes.len() + fields * FIELD_BYTES)?;
    }
    Q::decode(bytes).map_err(|_| Error::Unreadable)
}

/// Returns the number of fields of a message: an empty string of a list takes two bytes, and twelve
/// times as many once it is decoded.
fn fields(mut bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut count = 0;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
        count += 1;
    }
    Ok(count)
}

/// Inflates a message to at most `max_bytes`. Fails for any other encoding than gzip.
fn inflate(message: &[u8], headers: &HeaderMap, max_bytes: usize) -> Result<Vec<u8>, Error> {
    match headers.get(GRPC_ENCODING).map(|encoding| encoding.as_bytes()) {
        Some(b"gzip") => {}
        // The flag says that it is compressed, and the header that it is not.
        None | Some(b"identity") => return Err(Error::Unreadable),
        Some(_) => return Err(Error::Compressed),
    }
    let (mut inflated, most) = (Vec::new(), max_bytes.saturating_add(1));
    let mut limited = GzDecoder::new(message).take(most.try_into().unwrap_or(u64::MAX));
    match limited.read_to_end(&mut inflated) {
        Ok(length) if length > max_bytes => Err(Error::TooLarge),
        // Others would read what follows as a second message, or refuse it.
        Ok(_) if limited.get_ref().get_ref().is_empty() => Ok(inflated),
        Ok(_) | Err(_) => Err(Error::Unreadable),
    }
}

/// Removes a `grpc-encoding` that is not supported, which tonic's services refuse even if the
/// message is not compressed. Returns whether it is supported.
pub(super) fn hide_unsupported_encoding(headers: &mut HeaderMap) -> bool {
    let is_supported =
        headers.get(GRPC_ENCODING).is_none_or(|encoding| encoding == "gzip" || encoding == "identity");
    if !is_supported {
        headers.remove(GRPC_ENCODING);
    }
    is_supported
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

/// Returns how many bytes `frame` lacks, as far as its length is known; 0 if it is a whole message.
/// Fails as soon as it cannot become one.
fn missing(frame: &[u8], max_bytes: usize) -> Result<usize, Error> {
    let Some(([flag, length @ ..], message)) = frame.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(FRAME_HEADER_BYTES - frame.len());
    };
    let length = u32::from_be_bytes(*length) as usize;
    if *flag > COMPRESSED {
        return Err(Error::Unreadable);
    }
    if length > max_bytes {
        return Err(Error::TooLarge);
    }
    length.checked_sub(message.len()).ok_or(Error::Unreadable)
}

/// The encodings of messages that are read (gRPC's compression.md).
pub(super) const ACCEPTED_ENCODINGS: &str = "identity,gzip";
const COMPRESSED: u8 = 1;
// What fits into the memory that every call counts for, whatever it contains.
const SMALL_BYTES: usize = 256;
// The place of a string in a list, which doubles when it is full.
const FIELD_BYTES: usize = 2 * size_of::<String>();
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
