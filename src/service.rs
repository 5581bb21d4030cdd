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
mod method;
mod observe;
mod online;
mod request_id;
mod respond;
mod watch;
mod watch_context;
mod watch_stream;

use std::sync::Arc;

use tonic::metadata::MetadataMap;

use self::observe::CallObserver;
pub use self::{closing::Closing, dispatch::Dispatcher, respond::ResponseBody, watch::WatchServer};
use crate::{
    audit::OpenRecord,
    auth::{Authenticator, Peer},
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
}

impl Service {
    /// Waits, however long, for the signing keys of a pool and the credentials for its calls.
    pub async fn ready(&self, pool: &PoolId) {
        tokio::join!(self.authenticator.ready(pool), self.users.ready(pool));
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
    /// Names the caller in the audit record and the metric, if a rule matches it. Its connection may
    /// then use all of the memory.
    fn set_rule(&self, rule: &Result<CallerRule<'_>, Denied>) {
        if let Ok(rule) = rule {
            self.memory.set_known();
            self.audit.set_caller(Some(rule.name()));
            self.call.caller.get_or_init(|| Arc::clone(rule.name()));
        }
    }
}

type Reply = Result<Encoded, Error>;
