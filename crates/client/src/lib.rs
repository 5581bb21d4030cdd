//! The messages, clients and error reasons of cognito-lookup, for a backend in Rust. The messages
//! are generated from `proto/`, which documents every field.
//!
//! ```no_run
//! use cognito_lookup_client::{
//!     ErrorReason, GetUserRequest, Session, user_service_client::UserServiceClient,
//! };
//! use tonic::Request;
//! use tonic_types::StatusExt as _;
//!
//! # async fn look_up(authorization: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let mut users = UserServiceClient::connect("http://127.0.0.1:50051").await?;
//! let mut request = Request::new(GetUserRequest { attributes: vec!["name".to_owned()], ..Default::default() });
//! request.metadata_mut().insert("authorization", authorization.parse()?);
//! let user = match users.get_user(request).await {
//!     Ok(response) => response.into_inner().user,
//!     Err(status) => match status.get_details_error_info().and_then(|info| ErrorReason::of(&info)) {
//!         Some(reason) if reason.session() == Session::RefreshOrEnd => None, // Answer 401.
//!         _ => return Err(status.into()),
//!     },
//! };
//! # Ok(()) }
//! ```
#![expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    reason = "generated"
)]

mod mirror;
mod reason;

pub use self::{
    mirror::{MirrorOptions, UserMirror},
    reason::{FixedBy, Session},
};
pub use tonic_types::pb::Status;

tonic::include_proto!("userlookup.v1");

// Compiles the example of the page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The gRPC health checking protocol.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// The `domain` of our reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "userlookup.v1";

macro_rules! redacted {
    ($($message:path),*) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($message), "(redacted)"))
            }
        }
    )*};
}

// build.rs names these too, and derives no Debug for them: it would show tokens, subs and attribute
// values.
redacted!(
    BatchGetUsersRequest,
    EraseUserRequest,
    ExpireUserRequest,
    ExplainAccessRequest,
    GetUserRequest,
    InspectUserRequest,
    RevokeTokensRequest,
    User,
    UserChange,
    WatchUsersRequest,
    revoke_tokens_request::Tokens
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn debug_shows_nothing_personal() {
        let sub = String::from("ada00000");
        let subs = vec![sub.clone()];
        let user = User { sub: sub.clone(), ..User::default() };
        let shown = [
            format!("{:?}", BatchGetUsersRequest { subs, ..Default::default() }),
            format!("{:?}", EraseUserRequest { sub: sub.clone(), ..Default::default() }),
            format!("{:?}", ExpireUserRequest { sub: sub.clone(), ..Default::default() }),
            format!("{:?}", ExplainAccessRequest { sub: sub.clone(), ..Default::default() }),
            format!("{:?}", GetUserRequest { access_token: sub.clone(), ..Default::default() }),
            format!("{:?}", InspectUserRequest { sub: sub.clone(), ..Default::default() }),
            format!("{:?}", RevokeTokensRequest { sub: sub.clone(), ..Default::default() }),
            format!("{user:?}"),
            format!("{:?}", UserChange { sub: sub.clone(), ..Default::default() }),
            format!("{:?}", WatchUsersRequest { subs: vec![sub.clone()], ..Default::default() }),
        ];
        for text in &shown {
            assert!(text.ends_with("(redacted)"), "{text}");
        }
        let tokens = revoke_tokens_request::Tokens::AccessToken(sub.clone());
        assert!(!format!("{tokens:?}").contains(&sub));
        assert!(!format!("{:?}", GetUserResponse { user: Some(user), freshness: None }).contains(&sub));
        let named = shown.iter().filter_map(|text| text.strip_suffix("(redacted)"));
        assert_eq!(named.collect::<BTreeSet<_>>(), personal().iter().map(String::as_str).collect());
    }

    const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/userlookup.v1.binpb"));

    /// The messages of the contract that have a personal field.
    fn personal() -> BTreeSet<String> {
        const FIELDS: [&str; 5] = ["access_token", "groups", "sub", "subs", "username"];
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == DOMAIN);
        let messages = ours.flat_map(|file| &file.message_type);
        let personal = messages.filter(|message| {
            message.field.iter().any(|field| {
                FIELDS.contains(&field.name()) || field.type_name().ends_with(".AttributesEntry")
            })
        });
        personal.map(|message| message.name().to_owned()).collect()
    }
}
