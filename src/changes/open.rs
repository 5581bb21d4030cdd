//! Opens a stream.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    Changes, Inner, Subscription, WatchFilter,
    log::OutOfRange,
    place::{Place, Run},
    token::{self, TokenError},
};

/// A caller that watches.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// The name of its rule.
    pub caller: Arc<str>,
    /// What it watches.
    pub filter: WatchFilter,
    /// The resume token; empty to begin now.
    pub resume_token: String,
}

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// The server drains.
    Draining,
    /// The events of the replicas have not been read yet, or watching is off.
    NotReady,
    /// Changes after the place of the token may have been missed.
    TokenExpired,
    /// The token is malformed, or belongs to another caller or filter.
    TokenInvalid,
    /// The caller or this process has reached its limit of streams.
    TooMany,
}

impl Changes {
    /// Opens a stream of the changes from now on, or after the place of the token. Cancel safe. Waits up
    /// to 1 s for this replica to read what another one has sent already.
    pub async fn open(&self, watcher: Watcher) -> Result<Subscription, OpenError> {
        let Some(inner) = &self.0 else { return Err(OpenError::NotReady) };
        let Watcher { caller, filter, resume_token } = watcher;
        let (holder, filter) = (filter.fingerprint(&caller), Arc::new(filter));
        let after = match &*resume_token {
            "" => None,
            token => Some(token::open(&inner.sealer, &holder, token)?),
        };
        let give_up = Instant::now() + PATIENCE;
        loop {
            match inner.try_open(&caller, &filter, after, holder) {
                Err(Retry::Never(error)) => return Err(error),
                Err(Retry::Later(error)) if Instant::now() >= give_up => return Err(error),
                Err(Retry::Later(_)) => sleep(POLL).await,
                Ok(subscription) => return Ok(subscription),
            }
        }
    }
}

enum Retry {
    Later(OpenError),
    Never(OpenError),
}

impl Inner {
    fn try_open(
        self: &Arc<Self>,
        caller: &Arc<str>,
        filter: &Arc<WatchFilter>,
        after: Option<(Run, Place)>,
        holder: [u8; 32],
    ) -> Result<Subscription, Retry> {
        let mut state = self.lock();
        if state.is_draining {
            return Err(Retry::Never(OpenError::Draining));
        }
        if !state.log.has_begun() {
            return Err(Retry::Later(OpenError::NotReady));
        }
        if let Some((run, place)) = after {
            state.log.check(run, place).map_err(|error| match error {
                OutOfRange::Ahead => Retry::Later(OpenError::TokenExpired),
                OutOfRange::Expired => Retry::Never(OpenError::TokenExpired),
            })?;
        }
        let opened = state.streams.open(caller, Arc::clone(filter), after.map(|(_, place)| place));
        let (id, wake) = opened.map_err(|_| Retry::Never(OpenError::TooMany))?;
        drop(state);
        Ok(Subscription { inner: Arc::clone(self), id, wake, holder })
    }
}

impl From<TokenError> for OpenError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::TokenExpired,
            TokenError::Invalid => Self::TokenInvalid,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(25);
