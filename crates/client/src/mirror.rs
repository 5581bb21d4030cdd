//! A copy of users in the memory of a backend, kept fresh by `WatchUsers`.

mod copies;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tonic::{
    Code, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
};
use tonic_types::StatusExt as _;

use self::copies::Copies;
use crate::{
    GetUserRequest, GetUserResponse, WatchUsersRequest, WatchUsersResponse, get_user_request::Freshness,
    user_service_client::UserServiceClient, watch_users_response::Event,
};

/// Copies of users that drop out as soon as the service hears of a change; cheap to clone. It
/// follows the recipe of `docs/watch.md`.
///
/// While the service cannot report changes, or [`watch`](Self::watch) does not run, a copy is used
/// for [`MirrorOptions::ttl`] at most.
///
/// ```no_run
/// # use cognito_lookup_client::{MirrorOptions, UserMirror, user_service_client::UserServiceClient};
/// # async fn example(channel: tonic::transport::Channel) -> Result<(), tonic::Status> {
/// let users = UserMirror::new(UserServiceClient::new(channel), MirrorOptions::default());
/// tokio::spawn(users.clone().watch());
/// let user = users.get("900913e0-5a4d-4b0c-8000-000000000002").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct UserMirror<T> {
    client: UserServiceClient<T>,
    options: Arc<MirrorOptions>,
    copies: Arc<Mutex<Copies>>,
}

/// How a mirror reads and keeps users.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The attributes to read; empty for all that the caller may read.
    pub attributes: Vec<String>,
    /// The pool, if the service has several.
    pub user_pool_id: String,
    /// How long a copy is used while changes may be missed: 1 min by default.
    pub ttl: Duration,
    /// The most copies: 10,000 by default. If there are more, all are dropped.
    pub max_users: usize,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            attributes: Vec::new(),
            user_pool_id: String::new(),
            ttl: Duration::from_secs(60),
            max_users: 10_000,
        }
    }
}

impl<T> UserMirror<T>
where
    T: GrpcService<Body> + Clone,
    T::Error: Into<StdError>,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    /// Makes an empty mirror. Its client presents the credential of a caller with `watch = true`.
    pub fn new(client: UserServiceClient<T>, options: MirrorOptions) -> Self {
        let copies = Copies::new(options.ttl, options.max_users);
        Self { client, options: Arc::new(options), copies: Arc::new(Mutex::new(copies)) }
    }

    /// Returns the copy of a user, or reads the user. Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns the status with which `GetUser` failed.
    pub async fn get(&self, sub: &str) -> Result<Arc<GetUserResponse>, Status> {
        if let Some(copy) = self.copies().get(sub, Instant::now()) {
            return Ok(copy);
        }
        let reading = self.copies().begin(sub);
        let MirrorOptions { attributes, user_pool_id, .. } = &*self.options;
        let request = GetUserRequest {
            sub: sub.to_owned(),
            user_pool_id: user_pool_id.clone(),
            attributes: attributes.clone(),
            freshness: reading.not_older_than.map(Freshness::NotOlderThan),
            ..GetUserRequest::default()
        };
        let read = self.client.clone().get_user(request).await?.into_inner();
        let copy = Arc::new(read);
        self.copies().keep(sub, &reading, &copy, Instant::now());
        Ok(copy)
    }

    /// Watches until the service refuses it for a reason that no retry helps, and returns that
    /// status. Dropping the future stops it.
    pub async fn watch(self) -> Status {
        let mut token = String::new();
        loop {
            let status = self.watch_once(&mut token).await;
            match status.code() {
                Code::OutOfRange => {
                    self.copies().forget();
                    token.clear();
                }
                Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented => {
                    self.copies().forget();
                    return status;
                }
                _ => sleep(retry_delay(&status)).await,
            }
        }
    }

    /// Reads one stream, and returns the status with which it ended.
    async fn watch_once(&self, token: &mut String) -> Status {
        let request = WatchUsersRequest {
            user_pool_id: self.options.user_pool_id.clone(),
            resume_token: token.clone(),
            ..WatchUsersRequest::default()
        };
        let mut stream = match self.client.clone().watch_users(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return status,
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => self.hear(message, token),
                Ok(None) => return Status::unavailable("the stream ended without a status"),
                Err(status) => return status,
            }
        }
    }

    fn hear(&self, message: WatchUsersResponse, token: &mut String) {
        let mut copies = self.copies();
        match message.event {
            Some(Event::Change(change)) => copies.drop_user(&change, Instant::now()),
            Some(Event::Checkpoint(checkpoint)) => {
                copies.checkpoint(checkpoint.source_healthy, Instant::now())
            }
            None => {}
        }
        *token = message.resume_token;
    }
}

impl<T> UserMirror<T> {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn retry_delay(status: &Status) -> Duration {
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    delay.unwrap_or(RETRY_DELAY).min(MAX_DELAY)
}

const RETRY_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(60);
