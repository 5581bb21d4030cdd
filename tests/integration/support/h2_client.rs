//! Calls over h2, because tonic's client hides whether the server accepted a call that failed.

use std::net::SocketAddr;

use bytes::Bytes;
use cognito_lookup::proto::GetUserRequest;
use h2::{
    RecvStream,
    client::{self, SendRequest},
};
use http::{HeaderMap, Request};
use prost::Message as _;
use tokio::net::TcpStream;

use super::about;

pub(crate) async fn open(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with its connection")]
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// Makes a `GetUser` and returns its code, or nothing if the connection takes no more calls.
pub(crate) async fn get_user(client: &mut SendRequest<Bytes>, sub: &str) -> Option<String> {
    std::future::poll_fn(|cx| client.poll_ready(cx)).await.ok()?;
    let response = send_get_user(client, sub)?;
    let (head, mut body) = match response.await {
        Ok(response) => response.into_parts(),
        // The call crossed a GOAWAY that names an earlier stream as the last (RFC 9113, section
        // 6.8). A connection that is cut during a call fails with another error.
        Err(error) if error.is_go_away() && error.is_remote() => return None,
        Err(error) => panic!("an accepted call gets no reply: {error}"),
    };
    while let Some(data) = body.data().await {
        let data = data.expect("the answer comes whole");
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers: Option<HeaderMap> = RecvStream::trailers(&mut body).await.expect("with its code");
    let code = |headers: &HeaderMap| Some(headers.get("grpc-status")?.to_str().unwrap().to_owned());
    code(&head.headers).or_else(|| code(&trailers?))
}

/// Sends a `GetUser` and returns the future of its response, or nothing if the connection takes no
/// more calls.
pub(crate) fn send_get_user(client: &mut SendRequest<Bytes>, sub: &str) -> Option<client::ResponseFuture> {
    let request = Request::post("http://localhost/userlookup.v1.UserService/GetUser");
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(());
    let (response, mut body) = client.send_request(request.unwrap(), false).ok()?;
    let message: GetUserRequest = about(sub);
    let length = u32::try_from(message.encoded_len()).unwrap().to_be_bytes();
    let frame = [&[0], &length[..], &message.encode_to_vec()].concat();
    body.send_data(frame.into(), true).ok()?;
    Some(response)
}
