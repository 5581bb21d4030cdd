//! What is asked, and how it is answered.

use bytes::Bytes;
use cognito_lookup::{proto::GetUserRequest, service::Dispatcher};
use cognito_standin::StandIn;
use futures_util::FutureExt as _;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;

use super::parts::neighbour;

/// A call of `GetUser`, by what names the user.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    BySub,
    ByToken,
}

impl Question {
    pub(crate) const ALL: [Self; 2] = [Self::BySub, Self::ByToken];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BySub => "by-sub",
            Self::ByToken => "by-token",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|question| question.name() == name).expect("there is such a question")
    }

    /// Returns the call as it comes from a connection, with the metadata that gRPC clients send.
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

/// Answers a call so often that the user is held and nothing is done for the first time any more.
pub(crate) async fn warmed(dispatcher: &Dispatcher, request: &Request<Full<Bytes>>) {
    for _ in 0..WARMING {
        drop(dispatcher.clone().dispatch(request.clone(), neighbour()).await);
    }
}

/// Answers a call that has nothing to wait for, reads the answer to its end, and returns how many bytes its messages
/// were. What a connection does for each call is done here too. Fails unless the call succeeded.
#[inline(never)]
pub(crate) fn answered(dispatcher: &Dispatcher, request: Request<Full<Bytes>>) -> usize {
    let answer = Box::pin(dispatcher.clone().dispatch(request, neighbour()));
    let mut body = answer.now_or_never().expect("nothing is waited for").into_body();
    let (mut bytes, mut is_ok) = (0, false);
    while let Some(frame) = body.frame().now_or_never().expect("nothing is waited for") {
        let frame = frame.unwrap();
        bytes += frame.data_ref().map_or(0, Bytes::len);
        is_ok |= frame.trailers_ref().is_some_and(|trailers| trailers["grpc-status"] == "0");
    }
    assert!(is_ok, "the call failed");
    bytes
}

pub(crate) const WARMING: usize = 200;
const URI: &str = "http://127.0.0.1:50051/userlookup.v1.UserService/GetUser";
const METADATA: [(&str, &str); 3] =
    [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "grpc-go/1.75.0")];
