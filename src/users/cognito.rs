//! Asks one pool's Cognito for a user, over the AWS SDK, and takes no other user for an answer.

mod answer;

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::{self, ProvideCredentials as _, SharedCredentialsProvider},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use self::answer::Record;
use super::Failure;
use crate::{
    config::Credentials,
    pool::{Lookup, Pool},
    telemetry::chain,
    user::{Sub, User, Username},
};

/// The API of one pool.
#[derive(Debug)]
pub(super) struct Cognito {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    pool: Arc<Pool>,
}

impl Cognito {
    /// Prepares to ask; connects and looks for credentials only with the first call.
    pub(super) async fn connect(pool: Arc<Pool>) -> Self {
        let times = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(TOTAL_TIMEOUT);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new(pool.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(BACKOFF))
            .timeout_config(times.build());
        if let Some(url) = &pool.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if pool.credentials == Credentials::Placeholder {
            let word = "placeholder";
            loader = loader.credentials_provider(config::Credentials::new(word, word, None, None, word));
        }
        let shared = loader.load().await;
        if let (None, Some(url)) = (&pool.endpoint_url, shared.endpoint_url()) {
            warn!(pool.id = %pool.id, url, "AWS_ENDPOINT_URL or the AWS profile sends this pool's calls elsewhere");
        }
        Self { client: Client::new(&shared), credentials: shared.credentials_provider(), pool }
    }

    /// Returns when credentials were found, however long that takes.
    pub(super) async fn ready(&self) {
        let Some(credentials) = &self.credentials else { return };
        let mut wait = FIRST_WAIT;
        while let Err(error) = credentials.provide_credentials().await {
            warn!(pool.id = %self.pool.id, cause = chain(&error), "no AWS credentials yet");
            sleep(wait).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// Asks for the user of this name, who must have this `sub`; none if Cognito knows none.
    pub(super) async fn by_username(&self, username: &Username, sub: &Sub) -> Result<Option<User>, Failure> {
        self.admin_get_user(username.as_str(), sub).await
    }

    /// Asks for the user with this `sub`, in the way that is set for the pool; none if Cognito knows none. All the calls
    /// that takes end within 2 s, for nobody waits longer.
    pub(super) async fn by_sub(&self, sub: &Sub) -> Result<Option<User>, Failure> {
        timeout(TOTAL_TIMEOUT, self.search(sub)).await.unwrap_or(Err(Failure::Unavailable))
    }

    async fn search(&self, sub: &Sub) -> Result<Option<User>, Failure> {
        match self.pool.bare_sub {
            Lookup::AdminGetUser => self.admin_get_user(sub.as_str(), sub).await,
            Lookup::AdminGetUserThenListUsers => match self.admin_get_user(sub.as_str(), sub).await? {
                None => self.list_users(sub).await,
                found => Ok(found),
            },
            Lookup::ListUsers => self.list_users(sub).await,
        }
    }

    async fn admin_get_user(&self, username: &str, sub: &Sub) -> Result<Option<User>, Failure> {
        let request = self.client.admin_get_user().user_pool_id(self.pool.id.as_str()).username(username);
        match request.send().await {
            Ok(output) => self.read(output.into(), sub),
            Err(error) if error.code() == Some("UserNotFoundException") => Ok(None),
            Err(error) => Err(self.failure("AdminGetUser", &error)),
        }
    }

    /// The filter is an exact match, its value free of quotes by `Sub`'s alphabet. A filtered page may be empty and not
    /// be the last (API reference, `ListUsers`), so pages are followed, a few.
    async fn list_users(&self, sub: &Sub) -> Result<Option<User>, Failure> {
        let filter = format!("sub = \"{}\"", sub.as_str());
        let request = self.client.list_users().user_pool_id(self.pool.id.as_str()).filter(filter);
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let page = request.clone().set_pagination_token(token).send().await;
            let page = page.map_err(|error| self.failure("ListUsers", &error))?;
            let mut users = page.users.unwrap_or_default();
            match (users.pop(), users.as_slice()) {
                (Some(user), []) => return self.read(user.into(), sub),
                (Some(_), [_, ..]) => {
                    return Err(Failure::Mismatch).inspect_err(|failure| self.complain(*failure));
                }
                (None, _) => token = page.pagination_token,
            }
            if token.is_none() {
                return Ok(None);
            }
        }
        Err(Failure::Unavailable)
    }

    fn read(&self, record: Record, sub: &Sub) -> Result<Option<User>, Failure> {
        answer::user(record, sub).map(Some).inspect_err(|failure| self.complain(*failure))
    }

    fn complain(&self, failure: Failure) {
        error!(pool.id = %self.pool.id, "{failure}");
    }

    /// Sorts a failed call. What Cognito wrote goes nowhere: its messages may quote the request.
    fn failure<E: ProvideErrorMetadata>(&self, operation: &str, error: &SdkError<E>) -> Failure {
        let failure = match (error, error.code()) {
            (
                SdkError::ServiceError(_),
                Some("TooManyRequestsException" | "ThrottlingException" | "LimitExceededException"),
            ) => Failure::Throttled,
            (SdkError::ServiceError(service), Some(_)) if service.raw().status().is_client_error() => {
                Failure::Refused
            }
            (SdkError::ConstructionFailure(_), _) => Failure::Refused,
            // Neither the network nor time: no credentials were found, or TLS does not trust the other end.
            (SdkError::DispatchFailure(cause), _) if !cause.is_io() && !cause.is_timeout() => {
                Failure::Refused
            }
            _ => Failure::Unavailable,
        };
        let (pool, code) = (&self.pool.id, error.code().unwrap_or_else(|| kind(error)));
        let request = error.meta().request_id().unwrap_or_default();
        let cause = cause(error);
        macro_rules! log {
            ($level:ident) => {
                $level!(pool.id = %pool, aws.operation = operation, aws.code = code, aws.request_id = request, cause, "{failure}")
            };
        }
        match failure {
            Failure::Refused => log!(error),
            _ => log!(warn),
        }
        failure
    }
}

/// Tells why no request was sent; there is nothing of the request in it yet.
fn cause<E>(error: &SdkError<E>) -> Option<String> {
    match error {
        SdkError::DispatchFailure(cause) => cause.as_connector_error().map(|error| chain(error)),
        _ => None,
    }
}

fn kind<E>(error: &SdkError<E>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "ConstructionFailure",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "ConnectTimeout",
        SdkError::DispatchFailure(_) => "DispatchFailure",
        SdkError::ResponseError(_) => "ResponseError",
        SdkError::TimeoutError(_) => "Timeout",
        _ => "Unhandled",
    }
}

// A second try must fit into the total, and the total into the 3 s a caller waits by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(2);
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_PAGES: usize = 5;
// The endpoints of containers and instances answer late while a machine starts.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
