//! What listens at an address, to explain why no call to it succeeds.

use std::{error::Error, io, time::Duration};

use http::Uri;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

/// What a server at an address speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/1.1 on the admin port of the service.
    Admin,
    /// Nothing: it closes each connection.
    Closing,
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// Nothing: it keeps connections open.
    Silence,
    Tls,
    Unknown,
}

/// Explains why calls to `address`, a URL at which this is spoken, fail with `error`.
pub(super) fn explain(address: &str, spoken: io::Result<Spoken>, error: &(dyn Error + 'static)) -> String {
    match spoken {
        Ok(spoken) => problem(spoken, address).unwrap_or_else(|| failure(address, error)),
        Err(error) => unreachable(address, &error),
    }
}

/// Says why a server that speaks this is not the service at `address`; none if it may be.
pub(super) fn problem(spoken: Spoken, address: &str) -> Option<String> {
    let is_secure = address.starts_with("https:");
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let what = match spoken {
        Spoken::Admin => {
            "is the admin port of the service, which has only probes and metrics; give its gRPC port (`listen`)"
        }
        Spoken::Closing => "closes each connection without an answer, so it is not a gRPC server",
        Spoken::Http1 if is_secure => "is an HTTP/1.1 server without TLS, not a gRPC server",
        Spoken::Http1 => "is an HTTP/1.1 server, not a gRPC server",
        Spoken::Http2 if is_secure => {
            return Some(format!("{address} does not speak TLS; give http://{rest}"));
        }
        Spoken::Silence => "accepts connections but sends nothing, so it is not a gRPC server, or it hangs",
        Spoken::Tls if address.starts_with("unix:") => {
            "speaks TLS, which the commands do not on a Unix socket"
        }
        Spoken::Tls if !is_secure => return Some(format!("{address} speaks TLS; give https://{rest}")),
        Spoken::Unknown => "speaks neither HTTP nor TLS, so it is not a gRPC server",
        Spoken::Http2 | Spoken::Tls => return None,
    };
    Some(format!("{address} {what}"))
}

/// Explains why there is no connection to `address`.
pub(super) fn unreachable(address: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "; nothing listens there: is the service running, with this `listen`?"
        }
        io::ErrorKind::NotFound => "; there is no socket: is the service running, with this `listen`?",
        _ => "",
    };
    format!("cannot connect to {address}: {error}{hint}")
}

/// Returns the innermost error, with what to do about it. Those around it say little, or the same.
fn failure(address: &str, error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let cause = error.to_string();
    let hints = [
        ("UnknownIssuer", "; give the certificate authority of the service in --ca-file"),
        ("CertificateRequired", "; give a client certificate in --certificate-file and --key-file"),
        ("NotValidForName", "; give a name that is in the certificate of the service"),
        // The alert of the server may be lost.
        ("canceled", "; the service may require a client certificate (--certificate-file and --key-file)"),
        ("not negotiated", "; the server speaks TLS but not HTTP/2, so it is not a gRPC server"),
    ];
    let hint = hints.into_iter().find(|(problem, _)| cause.contains(problem)).map_or("", |(_, hint)| hint);
    format!("no call to {address} is possible: {}{hint}", cause.trim_end_matches('.'))
}

/// Sends a GET request for `path` to `address`, and returns the response; at most some KiB of it,
/// and nothing if none arrives within `wait`. Fails if there is no connection.
pub(super) async fn get(address: &str, path: &str, wait: Duration) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answer = ask(address, request.as_bytes(), wait).await?;
    Ok(String::from_utf8_lossy(&answer.bytes).into_owned())
}

/// Finds out what the server at `address` speaks, in three seconds at most. Fails if there is no
/// connection.
pub(super) async fn spoken(address: &str) -> io::Result<Spoken> {
    let (tls, http1, http2) = tokio::join!(
        ask(address, CLIENT_HELLO, WAIT),
        get(address, "/version", WAIT),
        ask(address, HTTP2_PREFACE, WAIT),
    );
    let (tls, http1, http2) = (tls?, http1?, http2?);
    Ok(match (&*tls.bytes, &*http1, &*http2.bytes) {
        ([HANDSHAKE | ALERT, 3, ..], ..) => Spoken::Tls,
        // Three bytes of a frame's length, its type and its flags (RFC 9113, section 4.1).
        (_, _, [_, _, _, SETTINGS, 0, ..]) => Spoken::Http2,
        (_, text, _) if text.starts_with("HTTP/1.") => {
            if text.contains("\r\n\r\ncognito-lookup ") {
                Spoken::Admin
            } else {
                Spoken::Http1
            }
        }
        ([], "", []) if tls.is_ended && http2.is_ended => Spoken::Closing,
        ([], "", []) => Spoken::Silence,
        _ => Spoken::Unknown,
    })
}

/// What a server sent, and whether it ended the connection.
struct Answer {
    bytes: Vec<u8>,
    is_ended: bool,
}

/// Opens a connection, sends `bytes`, and returns what arrives.
async fn ask(address: &str, bytes: &[u8], wait: Duration) -> io::Result<Answer> {
    if let Some(path) = address.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(exchange(UnixStream::connect(path).await?, bytes, wait).await);
    }
    let url: Uri = address.parse().map_err(io::Error::other)?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or_else(|| if url.scheme_str() == Some("https") { 443 } else { 80 });
    let stream = timeout(WAIT, TcpStream::connect((host, port))).await;
    let stream = stream.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
    Ok(exchange(stream, bytes, wait).await)
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8], wait: Duration) -> Answer {
    let mut answer = Answer { bytes: Vec::new(), is_ended: false };
    // A server that dislikes the first bytes may have ended the connection already.
    drop(stream.write_all(bytes).await);
    while answer.bytes.len() < MAX_BYTES && !answer.is_ended {
        let wait = if answer.bytes.is_empty() { wait } else { WAIT_FOR_MORE };
        let Ok(read) = timeout(wait, stream.read_buf(&mut answer.bytes)).await else { break };
        answer.is_ended = matches!(read, Ok(0) | Err(_));
    }
    answer
}

// Types of TLS records (RFC 8446, section 5.1) and of an HTTP/2 frame (RFC 9113, section 6.5).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SETTINGS: u8 = 4;
// The client hello of TLS 1.2, with two cipher suites and no extensions. A server answers it with
// its own hello or with an alert.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03\
    cognito-lookup asks: is it TLS? \x00\x00\x04\xc0\x2b\xc0\x2f\x01\x00";
// The preface of a client, with empty settings.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const WAIT: Duration = Duration::from_secs(1);
const WAIT_FOR_MORE: Duration = Duration::from_millis(200);
const MAX_BYTES: usize = 4096;
