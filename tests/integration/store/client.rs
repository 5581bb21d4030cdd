use std::{io, net::SocketAddr, path::Path};

use cognito_lookup::shared_cache::{Call, Reply, Script};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream},
    net::{TcpStream, UnixStream},
};

use crate::support::tls_client::handshake;

/// A client for one connection, in RESP2.
pub(crate) struct Client(BufStream<Box<dyn Stream>>);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A reply, or the error that the server or the connection returned.
pub(crate) type Answer = Result<Reply, String>;

impl Client {
    pub(crate) async fn tcp(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).await.map(Self::over)
    }

    pub(crate) async fn tls(address: SocketAddr, config: ClientConfig) -> io::Result<Self> {
        handshake(address, config).await.map(Self::over)
    }

    pub(crate) async fn unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::over)
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self(BufStream::new(Box::new(stream)))
    }

    /// Sends the words of a line as a command.
    pub(crate) async fn command(&mut self, line: &str) -> Answer {
        self.send(&line.split_whitespace().map(Into::into).collect::<Vec<_>>()).await
    }

    /// As [`command`](Self::command), for one that returns a text.
    pub(crate) async fn text(&mut self, line: &str) -> String {
        match self.command(line).await.unwrap() {
            Reply::Bytes(text) => String::from_utf8(text).unwrap(),
            other => panic!("{line} returned {other:?}"),
        }
    }

    /// Runs a script by its text.
    pub(crate) async fn call(&mut self, call: &Call) -> Answer {
        self.eval("EVAL", call.script.source, call).await
    }

    /// Loads a script, and returns its SHA-1.
    pub(crate) async fn load(&mut self, script: &Script) -> String {
        let answer = self.send(&["SCRIPT", "LOAD", script.source].map(Into::into)).await;
        String::from_utf8(list(answer.unwrap()).concat()).unwrap()
    }

    /// Runs another text, or the script that has this SHA-1, with the keys and arguments of a call.
    pub(crate) async fn eval(&mut self, command: &str, script: &str, call: &Call) -> Answer {
        let head = [command, script, &call.keys.len().to_string()].map(Into::into);
        let keys = call.keys.iter().map(|key| key.clone().into_bytes());
        self.send(&head.into_iter().chain(keys).chain(call.args.clone()).collect::<Vec<_>>()).await
    }

    async fn send(&mut self, parts: &[Vec<u8>]) -> Answer {
        match self.exchange(parts).await {
            Ok(answer) => answer,
            Err(error) => Err(error.to_string()),
        }
    }

    async fn exchange(&mut self, parts: &[Vec<u8>]) -> io::Result<Answer> {
        let mut request = format!("*{}\r\n", parts.len()).into_bytes();
        for part in parts {
            request.extend(format!("${}\r\n", part.len()).into_bytes());
            request.extend([part, &b"\r\n"[..]].concat());
        }
        self.0.write_all(&request).await?;
        self.0.flush().await?;
        self.read().await
    }

    async fn read(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let length = || rest.parse::<usize>().ok();
        Ok(Ok(match kind {
            "-" => return Ok(Err(rest.to_owned())),
            "+" => Reply::Bytes(rest.into()),
            ":" => Reply::Int(rest.parse().unwrap()),
            "$" => match length() {
                None => Reply::Nil,
                Some(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    Reply::Bytes(bytes)
                }
            },
            "*" => {
                let Some(length) = length() else { return Ok(Ok(Reply::Nil)) };
                let mut parts = Vec::new();
                for _ in 0..length {
                    match Box::pin(self.read()).await? {
                        Ok(part) => parts.push(part),
                        error => return Ok(error),
                    }
                }
                Reply::Array(parts)
            }
            _ => panic!("{line:?} is no reply"),
        }))
    }
}

/// The bytes of a reply, or of all replies in an array.
pub(crate) fn list(reply: Reply) -> Vec<Vec<u8>> {
    match reply {
        Reply::Array(parts) => parts.into_iter().flat_map(list).collect(),
        Reply::Bytes(bytes) => vec![bytes],
        Reply::Int(number) => vec![number.to_string().into_bytes()],
        Reply::Nil => Vec::new(),
    }
}
