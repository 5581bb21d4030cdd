use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use cognito_lookup::proto::{BatchGetUsersRequest, GetUserRequest};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// One HTTP/2 frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A connection without an HTTP/2 library, which sends no frame by itself.
#[derive(Debug)]
pub(crate) struct FrameConnection(pub(crate) TcpStream);

/// How a server reacted to what a connection sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectionEnd {
    /// It answers the PING that was sent last.
    Alive,
    /// It closed the connection without a GOAWAY.
    Cut,
    /// It sent a GOAWAY with this code and closed the connection.
    GoAway(u32),
}

impl FrameConnection {
    /// Connects and sends nothing.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// Connects from another address of this machine, and sends nothing.
    pub(crate) async fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        Self::over(socket.connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Connects, and sends the preface and `settings`, each an identifier and a value.
    pub(crate) async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut wire = Self::connect(address).await;
        wire.send(&preface_and_settings(settings)).await;
        wire
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Returns the next frame. Panics if none comes in time.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        timeout(PATIENCE, next(&mut self.0)).await.expect("a frame comes")
    }

    /// Returns the next frame of a kind, and skips those before it.
    pub(crate) async fn next_of_kind(&mut self, kind: u8) -> io::Result<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// Waits until the server has read everything that was sent, and returns the frames that came
    /// meanwhile.
    pub(crate) async fn ping(&mut self) -> io::Result<Vec<Frame>> {
        self.0.write_all(&frame(PING, 0, 0, b"in step.")).await?;
        let mut frames = Vec::new();
        loop {
            match self.next().await? {
                pong if (pong.kind, pong.flags, &pong.payload[..]) == (PING, ACK, b"in step.") => {
                    return Ok(frames);
                }
                frame => frames.push(frame),
            }
        }
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn ended(&mut self) -> ConnectionEnd {
        end(&mut self.0, |_| {}).await
    }
}

/// Sends `frames` and a PING over a new connection, and passes the frames that come back to `seen`.
pub(crate) async fn sent(address: SocketAddr, frames: &[u8], seen: impl FnMut(Frame)) -> ConnectionEnd {
    let (mut incoming, mut outgoing) = TcpStream::connect(address).await.unwrap().into_split();
    let all = [&preface_and_settings(&[])[..], frames, &frame(PING, 0, 0, FINAL)].concat();
    // The server may close the connection before it has read everything.
    let send = async { drop(outgoing.write_all(&all).await) };
    tokio::join!(send, end(&mut incoming, seen)).1
}

pub(crate) async fn end(stream: &mut (impl AsyncRead + Unpin), mut seen: impl FnMut(Frame)) -> ConnectionEnd {
    let mut said = ConnectionEnd::Cut;
    loop {
        match next(stream).await {
            Ok(pong) if (pong.kind, pong.flags, &pong.payload[..]) == (PING, ACK, FINAL) => {
                return ConnectionEnd::Alive;
            }
            Ok(frame) if frame.kind == GOAWAY => said = ConnectionEnd::GoAway(code(&frame.payload[4..8])),
            Ok(frame) => seen(frame),
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return said;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns the next frame, however long it takes.
pub(crate) async fn next(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [high, middle, low, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
}

/// The connection preface and the first settings.
pub(crate) fn preface_and_settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let each = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let settings: Vec<u8> = settings.iter().flat_map(each).collect();
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A `GetUser` with its message.
pub(crate) fn call(stream: u32, request: &GetUserRequest) -> Vec<u8> {
    [open_stream(stream), frame(DATA, END_STREAM, stream, &message(request))].concat()
}

/// A Length-Prefixed-Message.
pub(crate) fn message(request: &impl Message) -> Vec<u8> {
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// The HEADERS frame of a `GetUser`; its message is to follow.
pub(crate) fn open_stream(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &get_user())
}

/// The header block of a `GetUser`.
pub(crate) fn get_user() -> Vec<u8> {
    head("/userlookup.v1.UserService/GetUser")
}

/// A `BatchGetUsers` with its message.
pub(crate) fn batch(stream: u32, request: &BatchGetUsersRequest) -> Vec<u8> {
    let head = head("/userlookup.v1.UserService/BatchGetUsers");
    [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, END_STREAM, stream, &message(request))].concat()
}

/// The header block of a call.
pub(crate) fn head(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A header field as a literal without indexing (RFC 7541, section 6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A header field as a literal with incremental indexing (RFC 7541, section 6.2.1).
pub(crate) fn indexed(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &text(name), &text(value)].concat()
}

/// A string without Huffman coding (RFC 7541, sections 5.1 and 5.2).
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        short @ 0..127 => bytes.push(u8::try_from(short).unwrap()),
        long => {
            bytes.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend(text.bytes());
    bytes
}

/// A HEADERS frame and as many CONTINUATION frames as the block needs.
pub(crate) fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let count = block.chunks(FRAME_BYTES).len();
    let one = |(n, chunk): (usize, &[u8])| {
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        let ends = if n + 1 == count { END_HEADERS } else { 0 };
        let ends = if n == 0 { ends | END_STREAM } else { ends };
        frame(kind, ends, stream, chunk)
    };
    block.chunks(FRAME_BYTES).enumerate().flat_map(one).collect()
}

/// The code that a `RST_STREAM` carries.
pub(crate) fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().unwrap())
}

// RFC 9113, sections 3.4, 4.2, 6 and 7.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_BYTES: usize = 16 * 1024;
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
const PATIENCE: Duration = Duration::from_secs(30);
const FINAL: &[u8; 8] = b"the end.";
