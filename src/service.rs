//! The RPCs. Each handler is a straight line from a request to its reply; the [`Dispatcher`] does
//! what every call needs.

mod admin;
mod admit;
mod batch;
mod closing;
mod deadline;
mod decode;
mod dispatch;
mod get;
mod live;
mod method;
mod observe;
mod online;
mod request_id;
mod respond;
mod watch;
mod watch_context;
mod watch_stream;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::decode::fuzzing::grpc_message;
use self::observe::CallObserver;
pub use self::{closing::Closing, dispatch::Dispatcher, respond::ResponseBody, watch::WatchServer};
use crate::{
    audit::OpenRecord,
    auth::{Authenticator, Caller, Peer, Principal},
    error::Error,
    memory::ConnectionMemory,
    policy::{CallerRule, Denied, Policy},
    pool::PoolId,
    users::Users,
    wire::Encoded,
};

/// The parts that every handler uses; cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    /// Identifies callers and verifies their tokens.
    pub authenticator: Arc<Authenticator>,
    /// Decides what callers may read.
    pub policy: Arc<Policy>,
    /// Finds users, in the cache or at Cognito.
    pub users: Users,
    /// Ends the streams that were opened under these rules, when others replace them.
    pub replaced: CancellationToken,
}

impl Service {
    /// Makes the service of these parts.
    pub fn new(authenticator: Arc<Authenticator>, policy: Arc<Policy>, users: Users) -> Self {
        Self { authenticator, policy, users, replaced: CancellationToken::new() }
    }

    /// Waits, without a time limit, for the signing keys of a pool.
    pub async fn keys_fetched(&self, pool: &PoolId) {
        self.authenticator.ready(pool).await;
    }

    /// Waits, without a time limit, for the credentials that sign calls about a pool.
    pub async fn credentials_found(&self, pool: &PoolId) {
        self.users.credentials_found(pool).await;
    }

    /// Waits up to 5 s for the revocations of other replicas.
    pub async fn revocations_read(&self) {
        self.users.revocations_read().await;
    }
}

/// The context of a call, which its handler gets with the message.
#[derive(Clone, Copy, Debug)]
struct CallContext<'a> {
    metadata: &'a MetadataMap,
    peer: &'a Peer,
    call: &'a CallObserver<'a>,
    audit: &'a OpenRecord<'a>,
    memory: &'a ConnectionMemory,
}

impl CallContext<'_> {
    /// Names the caller in the audit record and, if a rule matches it, in the metric. Its connection may
    /// then use all of the memory.
    fn set_rule(&self, caller: &Caller, rule: &Result<CallerRule<'_>, Denied>) {
        match rule {
            Ok(rule) => {
                self.memory.set_known();
                self.audit.set_caller(Some(rule.name()), Some(rule.principal()));
                self.call.caller.get_or_init(|| Arc::clone(rule.name()));
            }
            Err(_) => self.audit.set_caller(None, Principal::of(caller.identity()).as_ref()),
        }
    }
}

type Reply = Result<Encoded, Error>;
