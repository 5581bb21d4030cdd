//! The one message of a request, out of the frame that gRPC puts around it (gRPC over HTTP/2,
//! "Length-Prefixed-Message").

use std::future::pending;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, header::HeaderName};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::metadata::MetadataMap;

use crate::{error::Error, wire::FRAME_HEADER_BYTES};

/// Reads a request's message, of at most `most` bytes, when all of the request is there. One that is compressed is not
/// read, nor one that something follows. A body's trailers are passed over: gRPC knows none ("Requests"). Where the caller
/// breaks off it never returns: nobody is there to be told. Not cancel safe: what was read until then is lost.
pub(super) async fn message<Q, B>(metadata: &MetadataMap, body: &mut B, most: usize) -> Result<Q, Error>
where
    Q: Message + Default,
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if is_compressed(metadata.as_ref()) {
        return Err(Error::Compressed);
    }
    let mut frame = more(body).await.ok_or(Error::Unreadable)?;
    if !is_whole(&frame, most)? {
        let mut gathered = BytesMut::from(frame);
        while !is_whole(&gathered, most)? {
            gathered.extend_from_slice(&more(body).await.ok_or(Error::Unreadable)?);
        }
        frame = gathered.freeze();
    }
    // Not kept until the end: it is a part of what the connection has read.
    frame.advance(FRAME_HEADER_BYTES);
    let message = Q::decode(frame).map_err(|_| Error::Unreadable)?;
    while let Some(rest) = more(body).await {
        if !rest.is_empty() {
            return Err(Error::Unreadable);
        }
    }
    Ok(message)
}

/// Returns the next bytes of a body, none at its end.
async fn more<B>(body: &mut B) -> Option<Bytes>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return None;
    }
    match body.frame().await? {
        Ok(frame) => frame.into_data().ok(),
        // The stream is reset, or the connection gone; with that hyper drops the call, which is logged as cancelled.
        Err(_) => pending().await,
    }
}

/// Returns whether all of a message is there; fails as soon as it cannot become one that is read.
fn is_whole(frame: &[u8], most: usize) -> Result<bool, Error> {
    let Some(([flag, length @ ..], message)) = frame.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(false);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if *flag != 0 || length > most || message.len() > length {
        return Err(Error::Unreadable);
    }
    Ok(message.len() == length)
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(GRPC_ENCODING).is_some_and(|encoding| encoding != "identity")
}

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::proto::GetUserRequest;

    #[tokio::test]
    async fn a_message_is_read_however_it_is_cut() {
        let bytes = framed(b"\x0a\x03abc");
        for size in 1..=bytes.len() {
            for end in [vec![], vec![Ok(Frame::data(Bytes::new()))], vec![Ok(trailers())]] {
                let chunks = bytes.chunks(size).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))));
                let read = read_all(HeaderMap::new(), chunks.chain(end).collect()).await;
                assert_eq!(read.map(|message| message.sub), Ok("abc".to_owned()), "{size}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_message_alone_is_refused() {
        let good = framed(b"");
        let table: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[&good[..4]],
            &[&framed(b"\x0a\x03abc")[..9]],
            &[&good, b"\0"],
            &[&good, b"", &good],
            &[&framed(&[b'\x0a'; 33])],
        ];
        for chunks in table {
            let read = read_all(HeaderMap::new(), data(chunks)).await;
            assert_eq!(read, Err(Error::Unreadable), "{chunks:?}");
        }
        let most = framed(&[b"\x0a\x1e", &[b'a'; 30][..]].concat());
        assert!(read_all(HeaderMap::new(), data(&[&most])).await.is_ok(), "the longest that is read");
    }

    #[tokio::test]
    async fn what_can_become_no_message_is_refused_at_once() {
        let table: [&[&[u8]]; 7] = [
            &[&framed(b"\xff")],
            &[&[1, 0, 0, 0, 0]],
            &[&[2, 0, 0, 0, 0]],
            &[&[0, 0, 0, 0, 33]],
            &[&[0, 255], &[255, 255, 255]],
            &[&[0, 0, 0, 0, 1, 10, 10]],
            &[&framed(b""), &[0]],
        ];
        for chunks in table {
            let mut body = StreamBody::new(stream::iter(data(chunks)).chain(stream::pending()));
            let metadata = MetadataMap::new();
            let read = message::<GetUserRequest, _>(&metadata, &mut body, 32).now_or_never();
            assert_eq!(read, Some(Err(Error::Unreadable)), "{chunks:?}");
        }
    }

    #[tokio::test]
    async fn who_breaks_off_is_told_nothing() {
        for sent in [&[][..], &[0, 0], &framed(b"")] {
            let frames = [Ok(Frame::data(Bytes::copy_from_slice(sent))), Err("reset")];
            let (metadata, mut body) = (MetadataMap::new(), StreamBody::new(stream::iter(frames)));
            let read = message::<GetUserRequest, _>(&metadata, &mut body, 32).now_or_never();
            assert_eq!(read, None, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_message_is_not_compressed() {
        for (encoding, expected) in [("identity", None), ("gzip", Some(Error::Compressed))] {
            let headers = [("grpc-encoding".parse().unwrap(), encoding.parse().unwrap())];
            let read = read_all(headers.into_iter().collect(), data(&[&framed(b"")])).await;
            assert_eq!(read.err(), expected, "{encoding}");
        }
    }

    fn data(chunks: &[&[u8]]) -> Vec<Result<Frame<Bytes>, Infallible>> {
        chunks.iter().map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect()
    }

    async fn read_all(
        headers: HeaderMap,
        frames: Vec<Result<Frame<Bytes>, Infallible>>,
    ) -> Result<GetUserRequest, Error> {
        let mut body = StreamBody::new(stream::iter(frames));
        message(&MetadataMap::from_headers(headers), &mut body, 32).await
    }

    fn trailers() -> Frame<Bytes> {
        Frame::trailers([("authorization".parse().unwrap(), "x".parse().unwrap())].into_iter().collect())
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
    }
}
