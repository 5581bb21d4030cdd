//! The calls that the load sends.

use bytes::Bytes;
use cognito_lookup::proto::{BatchGetUsersRequest, GetUserRequest, GetUserResponse};
use http::Request;
use prost::Message;

/// A call of one of the service's methods.
#[derive(Clone)]
pub(crate) struct Call {
    /// The whole URL. Its host is fixed, because no server looks at it.
    method: &'static str,
    /// The value of the `authorization` metadata.
    authorization: Option<String>,
    body: Bytes,
}

impl Call {
    pub(crate) fn by_token(token: &str) -> Self {
        let authorization = Some(format!("Bearer {token}"));
        Self { method: GET_USER, authorization, body: frame(&GetUserRequest::default()) }
    }

    pub(crate) fn by_sub(sub: &str) -> Self {
        let message = GetUserRequest { sub: sub.to_owned(), ..GetUserRequest::default() };
        Self { method: GET_USER, authorization: None, body: frame(&message) }
    }

    pub(crate) fn by_subs(subs: &[String]) -> Self {
        let message = BatchGetUsersRequest { subs: subs.to_vec(), ..BatchGetUsersRequest::default() };
        Self { method: BATCH_GET_USERS, authorization: None, body: frame(&message) }
    }

    pub(crate) fn describe(&self) -> String {
        let token = self.authorization.as_ref().map_or(0, String::len);
        format!("authorization of {token} bytes, message of {}", self.body.len() - FRAME_HEAD)
    }

    /// Returns the path of the method.
    pub(crate) fn path(&self) -> &'static str {
        self.method.strip_prefix(HOST).unwrap()
    }

    /// Returns the request headers, by name and value.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let authorization = self.authorization.as_deref().map(|value| ("authorization", value));
        [("content-type", "application/grpc"), ("te", "trailers")].into_iter().chain(authorization)
    }

    /// Returns the request body: one Length-Prefixed-Message of gRPC over HTTP/2.
    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Returns the head of the request.
    pub(crate) fn request(&self) -> Request<()> {
        let request = Request::post(self.method);
        self.headers().fold(request, |request, (name, value)| request.header(name, value)).body(()).unwrap()
    }
}

/// Decodes the reply of a `GetUser`, which comes as a Length-Prefixed-Message.
pub(crate) fn decode(reply: &[u8]) -> GetUserResponse {
    GetUserResponse::decode(&reply[FRAME_HEAD..]).unwrap()
}

/// Returns the reply without its age, which differs from call to call.
pub(crate) fn without_age(mut reply: GetUserResponse) -> GetUserResponse {
    reply.freshness.as_mut().unwrap().age = None;
    reply
}

fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// The bytes before a message: the compression flag and the length.
pub(crate) const FRAME_HEAD: usize = 5;
const HOST: &str = "http://localhost";
const GET_USER: &str = "http://localhost/userlookup.v1.UserService/GetUser";
const BATCH_GET_USERS: &str = "http://localhost/userlookup.v1.UserService/BatchGetUsers";
