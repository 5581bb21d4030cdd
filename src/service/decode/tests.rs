use std::convert::Infallible;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::proto::GetUserRequest;

#[tokio::test]
async fn a_message_is_read_however_it_is_split_into_frames() {
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
async fn anything_but_exactly_one_message_is_refused() {
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
async fn a_frame_that_cannot_become_a_message_is_refused_at_once() {
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
async fn a_client_that_resets_the_stream_gets_no_answer() {
    for sent in [&[][..], &[0, 0], &framed(b"")] {
        let frames = [Ok(Frame::data(Bytes::copy_from_slice(sent))), Err("reset")];
        let (metadata, mut body) = (MetadataMap::new(), StreamBody::new(stream::iter(frames)));
        let read = message::<GetUserRequest, _>(&metadata, &mut body, 32).now_or_never();
        assert_eq!(read, None, "{sent:?}");
    }
}

#[tokio::test]
async fn a_compressed_message_is_refused() {
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
