//! `WatchUsers`, on tonic's generated server: who may watch, and the stream.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{Service, watch_context::WatchContext, watch_stream::WatchStream};
use crate::{
    auth::Credentials,
    changes::{MAX_PENDING, Watcher},
    error::Error,
    memory::Charge,
    proto::{
        BatchGetUsersRequest, BatchGetUsersResponse, GetUserRequest, GetUserResponse, WatchUsersRequest,
        WatchUsersResponse, user_service_server::UserService,
    },
    query::WatchQuery,
    wire,
};

/// Serves the streams of the contract. Its calls carry a `WatchContext`.
#[derive(Clone, Copy, Debug)]
pub struct WatchServer;

impl Service {
    async fn watch(
        &self,
        request: Request<WatchUsersRequest>,
        context: &WatchContext,
    ) -> Result<WatchStream, Error> {
        let (metadata, _, message) = request.into_parts();
        let credentials = Credentials { metadata: &metadata, access_token: "", peer: &context.peer };
        let (caller, lease) = self.authenticator.authenticate_stream(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_caller(&caller, &rule);
        let query = wire::watch_query(&message)?;
        context.opening().users = query.subs.len();
        let rule = rule?;
        let filter = rule.watch_permit(&query)?.into_filter();
        self.check_online(credentials, rule.caller_limit(), context.deadline).await?;
        let charge = charge(context, filter.subs.len())?;
        let WatchQuery { resume_token, checkpoint_interval, .. } = query;
        let changes = self.users.changes();
        let max_age = changes.settings().ok_or(Error::WatchOff)?.max_age;
        let watcher = Watcher { caller: Arc::clone(rule.name()), filter, resume_token };
        let subscription = changes.open(watcher).await?;
        let record = context.recorder.stream(
            context.method,
            &context.request_id,
            context.peer.address,
            Arc::clone(rule.name()),
            rule.principal().clone(),
        );
        Ok(WatchStream::new(subscription, lease, record, checkpoint_interval, max_age, context, charge))
    }
}

/// Counts the memory of a stream: its place in the index, its mailbox, and what h2 keeps of a stream that
/// is not read.
fn charge(context: &WatchContext, users: usize) -> Result<Charge, Error> {
    let pending = if users == 0 { MAX_PENDING } else { users.min(MAX_PENDING) };
    Ok(context.memory.charge(STREAM_BYTES + users * INDEX_BYTES + pending * PENDING_BYTES)?)
}

type Responses = Pin<Box<dyn Stream<Item = Result<WatchUsersResponse, Status>> + Send>>;

#[tonic::async_trait]
impl UserService for WatchServer {
    type WatchUsersStream = Responses;

    async fn watch_users(
        &self,
        mut request: Request<WatchUsersRequest>,
    ) -> Result<Response<Self::WatchUsersStream>, Status> {
        let context = request.extensions_mut().remove::<Arc<WatchContext>>();
        let context = context.ok_or_else(|| Error::Panicked.into_status(""))?;
        match context.service.watch(request, &context).await {
            Ok(stream) => Ok(Response::new(Box::pin(stream::unfold(stream, WatchStream::next)))),
            Err(error) => {
                let status = error.clone().into_status(&context.request_id);
                context.opening().error = Some(error);
                Err(status)
            }
        }
    }

    // The dispatcher answers unary calls itself.
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Err(Error::Unimplemented.into_status(""))
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        Err(Error::Unimplemented.into_status(""))
    }
}

// What h2 buffers of a stream whose window is closed.
const STREAM_BYTES: usize = 72 * 1024;
const INDEX_BYTES: usize = 200;
const PENDING_BYTES: usize = 250;
