//! What a server is asked.

use bytes::Bytes;
use cognito_lookup::proto::{BatchGetUsersRequest, GetUserRequest, GetUserResponse};
use http::Request;
use prost::Message;

/// A call of one of the service's methods.
#[derive(Clone)]
pub(crate) struct Question {
    /// With the host, which no server looks at.
    method: &'static str,
    /// The metadata of that name.
    authorization: Option<String>,
    body: Bytes,
}

impl Question {
    pub(crate) fn by_token(token: &str) -> Self {
        let authorization = Some(format!("Bearer {token}"));
        Self { method: GET_USER, authorization, body: framed(&GetUserRequest::default()) }
    }

    pub(crate) fn by_sub(sub: &str) -> Self {
        let message = GetUserRequest { sub: sub.to_owned(), ..GetUserRequest::default() };
        Self { method: GET_USER, authorization: None, body: framed(&message) }
    }

    pub(crate) fn by_subs(subs: &[String]) -> Self {
        let message = BatchGetUsersRequest { subs: subs.to_vec(), ..BatchGetUsersRequest::default() };
        Self { method: BATCH_GET_USERS, authorization: None, body: framed(&message) }
    }

    pub(crate) fn described(&self) -> String {
        let token = self.authorization.as_ref().map_or(0, String::len);
        format!("authorization of {token} bytes, message of {}", self.body.len() - FRAME)
    }

    /// Returns where it is put.
    pub(crate) fn path(&self) -> &'static str {
        self.method.strip_prefix(HOST).unwrap()
    }

    /// Returns its headers, by name and value.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let authorization = self.authorization.as_deref().map(|value| ("authorization", value));
        [("content-type", "application/grpc"), ("te", "trailers")].into_iter().chain(authorization)
    }

    /// Returns its only message, in its frame (gRPC over HTTP/2, "Length-Prefixed-Message").
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Returns it without its body.
    pub(crate) fn request(&self) -> Request<()> {
        let request = Request::post(self.method);
        self.headers().fold(request, |request, (name, value)| request.header(name, value)).body(()).unwrap()
    }
}

/// Reads the reply of a `GetUser`, in its frame.
pub(crate) fn user(reply: &[u8]) -> GetUserResponse {
    GetUserResponse::decode(&reply[FRAME..]).unwrap()
}

/// Returns the same but for its age, which grows.
pub(crate) fn ageless(mut reply: GetUserResponse) -> GetUserResponse {
    reply.freshness.as_mut().unwrap().age = None;
    reply
}

fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// The bytes before a message.
pub(crate) const FRAME: usize = 5;
const HOST: &str = "http://localhost";
const GET_USER: &str = "http://localhost/userlookup.v1.UserService/GetUser";
const BATCH_GET_USERS: &str = "http://localhost/userlookup.v1.UserService/BatchGetUsers";
