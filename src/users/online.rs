//! Asks Cognito whether a token is revoked, by `GetUser` with the token itself: for revocations that no
//! event reports.

mod due;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::due::{Checked, is_due};
use super::{
    Users,
    cache::{EntryKind, Key},
    cognito::TokenCheck,
    limiter::{Account, CallKind, Priority, QuotaCategory},
};
use crate::{
    auth::{OnlineChecking, Revocation, Revocations, RevokedTokens, TokenFamily, TokenUser, UserToken},
    cache::Cache,
    clock::TimePoint,
    config::OnlineCheck,
    policy::CallerRateLimit,
    pool::PoolId,
    telemetry::metrics::{Counter, OnlineCheckOutcome},
};

/// A sign-in of a pool, whose tokens Cognito revokes together.
type SignIn = (PoolId, TokenFamily);

/// The checks of tokens at Cognito, bounded in bytes and in calls.
#[derive(Debug)]
pub(super) struct OnlineChecks {
    checking: OnlineChecking,
    checked: Cache<SignIn, Checked>,
    /// Each ends when its sender is dropped.
    in_flight: Mutex<HashMap<SignIn, watch::Receiver<()>>>,
}

/// A check in flight. Dropping it ends it.
struct InFlight {
    users: Users,
    sign_in: SignIn,
    _ended: watch::Sender<()>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.users.0.online.in_flight().remove(&self.sign_in);
    }
}

impl OnlineChecks {
    pub(super) fn new(revocations: &Revocations) -> Self {
        let checking = revocations.online().clone();
        let (which, every) = (checking.which, checking.every);
        // As long as the token, or the suspicion, may last.
        let longest = revocations.token_lifetime() + MARGIN;
        let is_repeated =
            move |last: &Checked| which == OnlineCheck::Always && last.found != TokenCheck::Revoked;
        let kept_for = move |last: &Checked| if is_repeated(last) { every } else { longest };
        let checked = Cache::new(MAX_BYTES, |_, _| 0, kept_for, Counter::default());
        Self { checking, checked, in_flight: Mutex::default() }
    }

    /// Frees expired entries.
    pub(super) fn maintain(&self) {
        self.checked.maintain();
    }

    fn count(&self, outcome: OnlineCheckOutcome) {
        self.checking.outcomes.get(outcome).inc();
    }

    fn note(&self, sign_in: SignIn, began: TimePoint, found: TokenCheck) {
        self.checked.insert(sign_in, Checked { began, found });
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<SignIn, watch::Receiver<()>>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    /// Returns whether Cognito is ever asked about tokens: one read of memory.
    pub fn checks_online(&self) -> bool {
        self.0.online.checking.which != OnlineCheck::Off
    }

    /// Asks Cognito whether a token is revoked, if that is due, on the account of a caller. Returns whether
    /// it is, and refuses it from then on.
    ///
    /// Waits for at most half of the time up to `deadline`. A check that is refused, fails or takes longer
    /// says nothing, so the token is accepted. Cancel safe: a check goes on, bounded in time.
    pub async fn is_revoked_online(
        &self,
        token: &UserToken<'_>,
        caller_limit: CallerRateLimit,
        deadline: Instant,
    ) -> bool {
        let (online, sign_in) = (&self.0.online, (token.user.pool.id.clone(), token.sign_in()));
        let (tokens, _) = token.revoked_with();
        let revocation = Revocation { pool: token.user.pool.id.clone(), tokens, at: token.user.issued_at };
        if !self.is_due(&sign_in, token) {
            // A check of another call may have ended since this one was authenticated.
            return self.is_found_revoked(&sign_in, &revocation);
        }
        if let Some(outcome) = unasked(token, SystemTime::now()) {
            // It says nothing about the other tokens of the sign-in.
            online.count(outcome);
            return self.is_found_revoked(&sign_in, &revocation);
        }
        let until = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let account = Account { priority: Priority::Single, caller_limit };
        if let Some(mut ended) = self.join_check(sign_in.clone(), token, account, until) {
            // It never sends, and is closed at its end.
            if timeout_at(until, ended.changed()).await.is_err() {
                online.count(OnlineCheckOutcome::Late);
                return false;
            }
        }
        self.is_found_revoked(&sign_in, &revocation)
    }

    /// The last check counts too: there may be no room for the revocation, which of a token that does not
    /// name its sign-in is as old as the token.
    fn is_found_revoked(&self, sign_in: &SignIn, revocation: &Revocation) -> bool {
        let found = self.0.online.checked.get(sign_in).is_some_and(|last| last.found == TokenCheck::Revoked);
        found || self.has_revoked(revocation)
    }

    fn is_due(&self, sign_in: &SignIn, token: &UserToken<'_>) -> bool {
        let (online, TokenUser { pool, sub, .. }) = (&self.0.online, &*token.user);
        let suspected = self.0.tokens.revocations().suspected_until(&pool.id, sub);
        // One that was issued later comes from a sign-in that was not revoked.
        let suspected = suspected.filter(|until| token.user.issued_at <= *until);
        is_due(&online.checking, online.checked.get(sign_in), suspected, TimePoint::now())
    }

    /// Joins the check of a sign-in, or starts it; none if it is not due any more, or there are too many.
    fn join_check(
        &self,
        sign_in: SignIn,
        token: &UserToken<'_>,
        account: Account,
        until: Instant,
    ) -> Option<watch::Receiver<()>> {
        let online = &self.0.online;
        let mut in_flight = online.in_flight();
        if let Some(check) = in_flight.get(&sign_in) {
            return Some(check.clone());
        }
        // One may have ended meanwhile.
        if !self.is_due(&sign_in, token) {
            return None;
        }
        if in_flight.len() >= MAX_CHECKS {
            online.count(OnlineCheckOutcome::Refused);
            return None;
        }
        let (sender, receiver) = watch::channel(());
        in_flight.insert(sign_in.clone(), receiver.clone());
        // A runtime that shuts down drops the task at once, which takes the lock.
        drop(in_flight);
        let check = InFlight { users: self.clone(), sign_in, _ended: sender };
        let (text, user, revoked) = (token.text.to_owned(), Arc::clone(&token.user), token.revoked_with());
        self.0.single_flight.spawn(async move { check.run(&text, &user, revoked, account, until).await });
        Some(receiver)
    }

    async fn ask_about(&self, token: &str, user: &TokenUser, account: Account, until: Instant) -> TokenCheck {
        let Ok(cognito) = self.cognito(&user.pool.id) else { return TokenCheck::Failed };
        let key = Key { pool: user.pool.id.clone(), sub: user.sub.clone(), kind: EntryKind::Profile };
        let ticket = cognito.limiter().open(self.0.single_flight.next_id(), account, key);
        let begun = async {
            cognito.check_circuit(QuotaCategory::UserReads)?;
            ticket.queue(QuotaCategory::UserReads, CallKind::First, until)?;
            ticket.begun().await
        };
        match begun.await {
            Ok(()) => cognito.check_token(token, &ticket).await,
            Err(_) => TokenCheck::Refused,
        }
    }
}

impl InFlight {
    async fn run(
        self,
        token: &str,
        user: &TokenUser,
        (tokens, at): (RevokedTokens, SystemTime),
        account: Account,
        until: Instant,
    ) {
        let (users, began) = (&self.users, TimePoint::now());
        let check = users.ask_about(token, user, account, until).await;
        if check == TokenCheck::Revoked {
            let names_user = tokens.user().is_some();
            let revocation = Revocation { pool: user.pool.id.clone(), tokens, at };
            // If `revocation.max_bytes` is full, the result of the check counts, which is kept below.
            let _in_force = users.revoke(revocation.clone()).await;
            if !names_user {
                users.announce_sign_out(&user.sub, revocation);
            }
        }
        users.0.online.count(check.into());
        users.0.online.note(self.sign_in.clone(), began, check);
    }
}

/// Returns why Cognito is not asked about a token that is due; none if it is.
fn unasked(token: &UserToken<'_>, now: SystemTime) -> Option<OnlineCheckOutcome> {
    // Cognito refuses an expired token like a revoked one.
    let is_expiring = token.expires_at.duration_since(now).unwrap_or_default() < MARGIN;
    match () {
        () if !token.is_for_cognito => Some(OnlineCheckOutcome::Unscoped),
        () if is_expiring => Some(OnlineCheckOutcome::Expiring),
        () => None,
    }
}

impl From<TokenCheck> for OnlineCheckOutcome {
    fn from(check: TokenCheck) -> Self {
        match check {
            TokenCheck::Failed => Self::Failed,
            TokenCheck::Refused => Self::Refused,
            TokenCheck::Revoked => Self::Revoked,
            TokenCheck::Throttled => Self::Throttled,
            TokenCheck::Valid => Self::Valid,
        }
    }
}

// More than clocks differ and a call takes.
const MARGIN: Duration = Duration::from_secs(30);
// Some 70,000 sign-ins. One that is forgotten is checked again.
const MAX_BYTES: u64 = 16 << 20;
// As many as the rate limit begins in ten seconds.
const MAX_CHECKS: usize = 1_000;
