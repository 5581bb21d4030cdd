//! The target `grpc_message`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::{convert::Infallible, io::Read as _};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use futures_util::{FutureExt as _, stream};
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;
use tonic::metadata::MetadataMap;

use super::message;
use crate::{error::Error, memory::ConnectionMemory, oracle::Input, proto::GetUserRequest};

/// A body is read as one message exactly if it is the frame of one, whatever pieces it comes in, and
/// the message is what prost decodes.
///
/// The first two bytes of the input choose `grpc-encoding` and the size of the pieces.
pub(crate) fn grpc_message(input: &[u8]) {
    let mut input = Input::new(input);
    let encoding = [None, Some("gzip"), Some("identity"), Some("zstd")][usize::from(input.byte() % 4)];
    let size = usize::from(input.byte()) + 1;
    let body = input.rest();
    // Which error a body with two faults gets depends on the pieces, so only successes are compared.
    let [in_pieces, whole] = [size, body.len().max(1)].map(|size| read(encoding, body.chunks(size)).ok());
    assert_eq!(in_pieces, whole, "pieces of {size} bytes");
    assert_eq!(whole, second_reading(encoding, body));
}

fn read<'a>(
    encoding: Option<&'static str>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<GetUserRequest, Error> {
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))));
    let mut body = StreamBody::new(stream::iter(frames));
    let mut headers = HeaderMap::new();
    if let Some(encoding) = encoding {
        headers.insert("grpc-encoding", encoding.parse().unwrap());
    }
    let charge = &mut MEMORY.with(|memory| memory.charge(0)).unwrap();
    let metadata = MetadataMap::from_headers(headers);
    let read = message(&metadata, &mut body, MAX_BYTES, charge);
    read.now_or_never().expect("the whole body is there")
}

fn second_reading(encoding: Option<&str>, body: &[u8]) -> Option<GetUserRequest> {
    let ([flag, length @ ..], message) = body.split_first_chunk::<5>()?;
    if u32::from_be_bytes(*length) as usize != message.len() || message.len() > MAX_BYTES {
        return None;
    }
    match (flag, encoding) {
        (0, _) => GetUserRequest::decode(message).ok(),
        (1, Some("gzip")) => {
            let (mut decoder, mut inflated) = (GzDecoder::new(message), Vec::new());
            (&mut decoder).take(MAX_BYTES as u64 + 1).read_to_end(&mut inflated).ok()?;
            let is_whole = inflated.len() <= MAX_BYTES && decoder.into_inner().is_empty();
            is_whole.then(|| GetUserRequest::decode(&*inflated).ok())?
        }
        _ => None,
    }
}

thread_local! {
    static MEMORY: ConnectionMemory = ConnectionMemory::for_test();
}

const MAX_BYTES: usize = 2048;
