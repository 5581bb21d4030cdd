//! The calls that look up one user: each acquires the rate limit, and at most one is retried.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::{
    super::{
        Failure,
        cache::Key,
        entry::LookupMethod,
        limiter::{Acquire, Priority, QuotaCategory},
        single_flight::{Progress, Reporter},
    },
    Cognito,
    breaker::Outcome,
    error, response,
};
use crate::{
    policy::CallerRateLimit,
    pool::BareSubLookup,
    telemetry::{
        metrics::{Label as _, upstream::CallOutcome},
        traces,
    },
    user::{Groups, User, Username},
};

/// The limits that the calls of a fetch are charged to.
#[derive(Clone, Copy, Debug)]
pub(in crate::users) struct Attribution<'a> {
    pub(in crate::users) priority: Priority,
    /// The limit of the first caller that waits for it.
    pub(in crate::users) caller_limit: Option<&'a CallerRateLimit>,
    reporter: &'a Reporter,
}

impl<'a> Attribution<'a> {
    /// A refresh is no caller's miss, so it is charged to no caller's limit.
    pub(in crate::users) fn of(
        priority: Priority,
        caller_limit: Option<&'a CallerRateLimit>,
        reporter: &'a Reporter,
    ) -> Self {
        let caller_limit = caller_limit.filter(|_| priority == Priority::Foreground);
        Self { priority, caller_limit, reporter }
    }
}

/// One lookup in progress.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    cognito: &'a Cognito,
    user: &'a Key,
    attribution: Attribution<'a>,
    ends: Instant,
    /// Whether the next call has acquired the rate limit. The first one has, before the fetch
    /// began.
    is_acquired: bool,
    is_retried: bool,
}

impl<'a> Fetch<'a> {
    /// Begins a lookup whose first call has acquired the rate limit. It should end by `ends`.
    pub(super) fn begin(
        cognito: &'a Cognito,
        user: &'a Key,
        attribution: Attribution<'a>,
        ends: Instant,
    ) -> Self {
        Self { cognito, user, attribution, ends, is_acquired: true, is_retried: false }
    }

    /// Looks up by `sub` as the pool's settings say, and returns the method used. A cached username
    /// is tried first: that one call also finds a federated user, and proves that a user is gone.
    pub(super) async fn by_sub(
        &mut self,
        username: Option<&Username>,
    ) -> (LookupMethod, Result<Option<User>, Failure>) {
        if let Some(name) = username.filter(|_| self.cognito.pool.bare_sub != BareSubLookup::ListUsers) {
            match self.admin_get_user(name.as_str()).await {
                // The name belongs to another user now; its former owner may still exist.
                Err(Failure::WrongUser) => {}
                answer => return (LookupMethod::ByUsername, answer),
            }
        }
        (LookupMethod::BySub, self.search().await)
    }

    async fn search(&mut self) -> Result<Option<User>, Failure> {
        let user = self.user;
        match self.cognito.pool.bare_sub {
            BareSubLookup::AdminGetUser => self.admin_get_user(user.sub.as_str()).await,
            BareSubLookup::AdminGetUserThenListUsers => match self.admin_get_user(user.sub.as_str()).await? {
                None => self.list_users().await,
                found => Ok(found),
            },
            BareSubLookup::ListUsers => self.list_users().await,
        }
    }

    /// Reads the user with this name, which must have the `sub` looked up. None if there is no such
    /// user.
    pub(super) async fn admin_get_user(&mut self, name: &str) -> Result<Option<User>, Failure> {
        let Cognito { client, pool, .. } = self.cognito;
        let request = client.admin_get_user().user_pool_id(pool.id.as_str()).username(name);
        let output = self.call(QuotaCategory::UserReads, || request.clone().send()).await?;
        output.map(|output| response::user(response::as_listed(output), &self.user.sub)).transpose()
    }

    /// Lists the groups of the user with that name. None if the user is gone or has another name.
    /// The response does not name the user, and another user may have taken the name since, so the
    /// user is looked up once more afterwards.
    pub(super) async fn groups(&mut self, name: &Username) -> Result<Option<Groups>, Failure> {
        let Some(groups) = self.list_groups(name).await? else { return Ok(None) };
        let user = match self.cognito.pool.bare_sub {
            BareSubLookup::ListUsers => self.list_users().await?,
            BareSubLookup::AdminGetUser | BareSubLookup::AdminGetUserThenListUsers => {
                self.admin_get_user(name.as_str()).await?
            }
        };
        Ok(user.filter(|user| user.username == *name).map(|_| groups))
    }

    /// A user is in at most 100 groups (developer guide, "Quotas in Amazon Cognito"); a page has
    /// 60.
    async fn list_groups(&mut self, name: &Username) -> Result<Option<Groups>, Failure> {
        let Cognito { client, pool, .. } = self.cognito;
        let request = client.admin_list_groups_for_user().user_pool_id(pool.id.as_str());
        let request = request.username(name.as_str()).limit(LARGEST_PAGE);
        let (mut names, mut token) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = request.clone().set_next_token(token);
            let page = self.call(QuotaCategory::GroupReads, || request.clone().send()).await?;
            let Some(page) = page else { return Ok(None) };
            let groups = page.groups.ok_or(Failure::Unreadable)?;
            names.extend(groups.into_iter().map(|group| group.group_name.unwrap_or_default()));
            token = page.next_token;
            if token.is_none() {
                return names.try_into().map(Some).map_err(|_| Failure::Unreadable);
            }
        }
        Err(Failure::Unreadable)
    }

    /// The filter matches exactly, and the alphabet of `Sub` has no quotes to escape. A filtered
    /// page may be empty and not be the last (API reference, `ListUsers`), so a few pages are
    /// followed.
    async fn list_users(&mut self) -> Result<Option<User>, Failure> {
        let Cognito { client, pool, .. } = self.cognito;
        let filter = format!("sub = \"{}\"", self.user.sub.as_str());
        let request = client.list_users().user_pool_id(pool.id.as_str()).filter(filter);
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let request = request.clone().set_pagination_token(token);
            let page = self.call(QuotaCategory::Lists, || request.clone().send()).await?;
            let Some(page) = page else { return Ok(None) };
            // An empty list means that there is no such user; a missing list means nothing.
            let mut users = page.users.ok_or(Failure::Unreadable)?;
            match (users.pop(), users.as_slice()) {
                (Some(user), []) => return response::user(user, &self.user.sub).map(Some),
                (Some(_), [_, ..]) => return Err(Failure::WrongUser),
                (None, _) => token = page.pagination_token,
            }
            if token.is_none() {
                return Ok(None);
            }
        }
        Err(Failure::Unavailable)
    }

    /// Makes a call and retries it once if it failed. None if there is no such user. A throttled or
    /// denied call is not retried, because the retry would fail too.
    async fn call<T, E, F>(
        &mut self,
        category: QuotaCategory,
        send: impl Fn() -> F,
    ) -> Result<Option<T>, Failure>
    where
        E: ProvideErrorMetadata,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        self.acquire(category).await?;
        let mut call = self.cognito.breakers.begin(category)?;
        loop {
            call.outcome = Outcome::TimedOut;
            let (outcome, result) = self.attempt(category, send()).await;
            call.outcome = outcome;
            let failure = match result {
                Err(Failure::Unavailable) if !self.is_retried && !call.is_probe => Failure::Unavailable,
                ended => return ended,
            };
            self.is_retried = true;
            sleep(BACKOFF.mul_f64(fastrand::f64())).await;
            // Cognito failed: the retry is not another miss of the caller.
            let acquire = Acquire { caller_limit: None, ..self.requirement(category) };
            self.cognito.limiter.reserve_retry(&acquire).map_err(|_| failure)?;
        }
    }

    async fn attempt<T, E: ProvideErrorMetadata>(
        &self,
        category: QuotaCategory,
        sent: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> (Outcome, Result<Option<T>, Failure>) {
        let Cognito { alarm, credentials, limiter, metrics, pool, .. } = self.cognito;
        let call = metrics.begin_call(category.operation());
        let span = traces::cognito_span(category.operation(), &pool.region);
        let sent = sent.instrument(span.clone()).await;
        call.end(sent.as_ref().err().map_or(CallOutcome::Answered, error::outcome));
        let error = match sent {
            Ok(output) => return (Outcome::Answered, Ok(Some(output))),
            Err(error) if error::is_absence(&error) => return (Outcome::Answered, Ok(None)),
            Err(error) => error,
        };
        let failure = error::classify(&pool.id, category.operation(), &error, alarm);
        traces::set_error(&span, error::outcome(&error).name(), true);
        if failure == Failure::Throttled {
            limiter.throttled(category);
        }
        if let Some(credentials) = credentials.as_ref().filter(|_| error::is_of_credentials(&error)) {
            credentials.refused();
        }
        let outcome = match error::outcome(&error) {
            _ if error.raw_response().is_some() => Outcome::Answered,
            CallOutcome::TimedOut => Outcome::TimedOut,
            _ => Outcome::Failed,
        };
        (outcome, Err(failure))
    }

    async fn acquire(&mut self, category: QuotaCategory) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_acquired) {
            return Ok(());
        }
        self.cognito.check_circuit(category)?;
        let by = match self.attribution.priority {
            Priority::Background => Instant::now(),
            Priority::Foreground => self.ends,
        };
        let at = self.cognito.limiter.reserve(&self.requirement(category), by)?;
        self.attribution.reporter.send_replace(Progress::Queued(at));
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    fn requirement(&self, category: QuotaCategory) -> Acquire<'a> {
        let Attribution { priority, caller_limit, .. } = self.attribution;
        Acquire { category, user: self.user, priority, caller_limit, is_continuation: true }
    }
}

const BACKOFF: Duration = Duration::from_millis(100);
const LARGEST_PAGE: i32 = 60;
const MAX_PAGES: usize = 5;
