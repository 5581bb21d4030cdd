//! IAM tokens for the connections to a cluster's nodes, which the `redis` crate establishes itself.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream::unfold};
use redis::{
    ErrorKind, RedisError, RedisResult,
    auth::{BasicAuth, StreamingCredentialsProvider},
};
use tokio::time::sleep;

use super::super::{fault::Fault, iam::IamTokens};

/// Gives each connection a token at once, and another one every 10 min, so that none ends after the
/// 12 h of its first token.
pub(super) struct TokenStream(pub(super) Arc<IamTokens>);

impl StreamingCredentialsProvider for TokenStream {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let tokens = Arc::clone(&self.0);
        Box::pin(unfold((tokens, Duration::ZERO), |(tokens, wait)| async move {
            sleep(wait).await;
            let token = tokens.token().await;
            let credentials = token.map(|token| BasicAuth::new(tokens.user().to_owned(), token.to_string()));
            Some((credentials.map_err(|fault| refused(&fault)), (tokens, INTERVAL)))
        }))
    }
}

fn refused(fault: &Fault) -> RedisError {
    (ErrorKind::AuthenticationFailed, "no IAM token", fault.to_string()).into()
}

const INTERVAL: Duration = Duration::from_secs(10 * 60);
