//! The calls, and how they are answered.

use bytes::Bytes;
use cognito_lookup::proto::GetUserRequest;
use cognito_standin::StandIn;
use futures_util::FutureExt as _;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;

use super::components::{Components, local_peer};

/// A call of `GetUser`, by how it names the user.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallKind {
    BySub,
    ByToken,
}

impl CallKind {
    pub(crate) const ALL: [Self; 2] = [Self::BySub, Self::ByToken];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BySub => "by-sub",
            Self::ByToken => "by-token",
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).expect("a kind of call")
    }

    /// Returns the request as a connection passes it on, with the metadata that gRPC clients send.
    pub(crate) fn request(self, cognito: &StandIn) -> Request<Full<Bytes>> {
        let mut message = GetUserRequest::default();
        let mut request = Request::post(URI).version(Version::HTTP_2);
        for (name, value) in METADATA {
            request = request.header(name, value);
        }
        match self {
            Self::BySub => message.sub = cognito.user("ada").unwrap().sub,
            Self::ByToken => {
                let token = cognito.access_token("ada").unwrap();
                request = request.header("authorization", format!("Bearer {token}"));
            }
        }
        let message = message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        request.body(Full::new([&[0], &length[..], &message].concat().into())).unwrap()
    }
}

/// Answers calls until the user is cached and nothing happens for the first time.
pub(crate) async fn warm_up(components: &Components, request: &Request<Full<Bytes>>) {
    for _ in 0..WARM_UP_CALLS {
        let Components { dispatcher, memory, .. } = components;
        drop(dispatcher.clone().dispatch(request.clone(), local_peer(), memory.clone()).await);
    }
}

/// Answers a call that hits the cache, reads the response to its end, and returns the length of its
/// messages in bytes. Does what a connection does for each call. Panics if the call has to wait or
/// fails.
#[inline(never)]
pub(crate) fn answer(components: &Components, request: Request<Full<Bytes>>) -> usize {
    let Components { dispatcher, memory, .. } = components;
    let response = dispatcher.clone().dispatch(request, local_peer(), memory.clone());
    let mut body = response.now_or_never().expect("a hit does not wait").into_body();
    let (mut bytes, mut is_ok) = (0, false);
    while let Some(frame) = body.frame().now_or_never().expect("a hit does not wait") {
        let frame = frame.unwrap();
        bytes += frame.data_ref().map_or(0, Bytes::len);
        is_ok |= frame.trailers_ref().is_some_and(|trailers| trailers["grpc-status"] == "0");
    }
    assert!(is_ok, "the call failed");
    bytes
}

pub(crate) const WARM_UP_CALLS: usize = 200;
const URI: &str = "http://127.0.0.1:50051/userlookup.v1.UserService/GetUser";
const METADATA: [(&str, &str); 3] =
    [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "grpc-go/1.75.0")];
