use std::{convert::Infallible, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::{
    memory::{ConnectionMemory, MemoryLimit},
    proto::GetUserRequest,
    telemetry::metrics::Metrics,
};

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
        &[&framed(&[b'\x0a'; 32])],
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
    let table: [(&[&[u8]], _); 8] = [
        (&[&framed(b"\xff")], Error::Unreadable),
        (&[&[1, 0, 0, 0, 0]], Error::Unreadable),
        (&[&[2, 0, 0, 0, 0]], Error::Unreadable),
        (&[&[0, 0, 0, 0, 33]], Error::TooLarge),
        (&[&[1, 0, 0, 0, 33]], Error::TooLarge),
        (&[&[0, 255], &[255, 255, 255]], Error::TooLarge),
        (&[&[0, 0, 0, 0, 1, 10, 10]], Error::Unreadable),
        (&[&framed(b""), &[0]], Error::Unreadable),
    ];
    for (chunks, expected) in table {
        let mut body = StreamBody::new(stream::iter(data(chunks)).chain(stream::pending()));
        let metadata = MetadataMap::new();
        let charge = &mut ConnectionMemory::for_test().charge(0).unwrap();
        let read = message::<GetUserRequest, _>(&metadata, &mut body, 32, charge).now_or_never();
        assert_eq!(read, Some(Err(expected)), "{chunks:?}");
    }
}

#[tokio::test]
async fn a_client_that_resets_the_stream_gets_no_answer() {
    for sent in [&[][..], &[0, 0], &framed(b"")] {
        let frames = [Ok(Frame::data(Bytes::copy_from_slice(sent))), Err("reset")];
        let (metadata, mut body) = (MetadataMap::new(), StreamBody::new(stream::iter(frames)));
        let charge = &mut ConnectionMemory::for_test().charge(0).unwrap();
        let read = message::<GetUserRequest, _>(&metadata, &mut body, 32, charge).now_or_never();
        assert_eq!(read, None, "{sent:?}");
    }
}

#[tokio::test]
async fn a_message_is_inflated_if_its_flag_says_so() {
    let zipped = |message: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(message).unwrap();
        encoder.finish().unwrap()
    };
    let flagged = |message: &[u8]| {
        let mut frame = framed(message);
        frame[0] = 1;
        frame
    };
    let good = zipped(b"\x0a\x03abc");
    let most = [b"\x0a\x3e", &[b'a'; 62][..]].concat();
    let abc = || Ok("abc".to_owned());
    for (case, encoding, frame, expected) in [
        ("not compressed", "gzip", framed(b"\x0a\x03abc"), abc()),
        ("not compressed, another encoding", "zstd", framed(b"\x0a\x03abc"), abc()),
        ("compressed", "gzip", flagged(&good), abc()),
        ("the longest", "gzip", flagged(&zipped(&most)), Ok("a".repeat(62))),
        ("too long once inflated", "gzip", flagged(&zipped(&[b'a'; 65])), Err(Error::TooLarge)),
        ("a bomb", "gzip", flagged(&zipped(&[b'a'; 20_000])[..]), Err(Error::TooLarge)),
        ("cut short", "gzip", flagged(&good[..good.len() - 9]), Err(Error::Unreadable)),
        (
            "a wrong checksum",
            "gzip",
            flagged(&[&good[..good.len() - 8], &[0; 8]].concat()),
            Err(Error::Unreadable),
        ),
        ("more after it", "gzip", flagged(&[&good[..], b"\0"].concat()), Err(Error::Unreadable)),
        ("another after it", "gzip", flagged(&[&good[..], &good].concat()), Err(Error::Unreadable)),
        ("no gzip", "gzip", flagged(b"\x0a\x03abc"), Err(Error::Unreadable)),
        ("an unknown encoding", "zstd", flagged(&good), Err(Error::Compressed)),
        ("compressed, and said not to be", "identity", flagged(&good), Err(Error::Unreadable)),
    ] {
        assert!(frame.len() <= 64 + 5, "{case}: {}", frame.len());
        let headers = [("grpc-encoding".parse().unwrap(), encoding.parse().unwrap())];
        let read = read_within(64, headers.into_iter().collect(), data(&[&frame])).await;
        assert_eq!(read.map(|message| message.sub), expected, "{case}");
    }
}

#[tokio::test]
async fn a_message_counts_with_what_its_decoding_takes() {
    let limit = MemoryLimit::new(64 << 20, 0, &Metrics::new());
    for (fields, expected) in [(100, None), (1_000, None), (30_000, Some(Error::MemoryExhausted))] {
        // An empty string in a list.
        let message_bytes = b"\x22\0".repeat(fields);
        let length = u32::try_from(message_bytes.len()).unwrap().to_be_bytes();
        let frame = [&[0], &length[..], &message_bytes].concat();
        let charge = &mut ConnectionMemory::open(&limit).unwrap().charge(0).unwrap();
        let mut body = StreamBody::new(stream::iter(data(&[&frame])));
        let read = message::<GetUserRequest, _>(&MetadataMap::new(), &mut body, 1 << 20, charge).await;
        assert_eq!(read.err(), expected, "{fields}");
    }
}

fn data(chunks: &[&[u8]]) -> Vec<Result<Frame<Bytes>, Infallible>> {
    chunks.iter().map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect()
}

async fn read_all(
    headers: HeaderMap,
    frames: Vec<Result<Frame<Bytes>, Infallible>>,
) -> Result<GetUserRequest, Error> {
    read_within(32, headers, frames).await
}

async fn read_within(
    max_bytes: usize,
    headers: HeaderMap,
    frames: Vec<Result<Frame<Bytes>, Infallible>>,
) -> Result<GetUserRequest, Error> {
    let mut body = StreamBody::new(stream::iter(frames));
    let charge = &mut ConnectionMemory::for_test().charge(0).unwrap();
    message(&MetadataMap::from_headers(headers), &mut body, max_bytes, charge).await
}

fn trailers() -> Frame<Bytes> {
    Frame::trailers([("authorization".parse().unwrap(), "x".parse().unwrap())].into_iter().collect())
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message].concat()
}
