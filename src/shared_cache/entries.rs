//! The calls of the scripts that work on the hash of one user. Each takes the user's key in the store.

use std::time::Duration;

use super::{
    args::{Parts, flag, micros, millis},
    call::{Call, CallError, Reply, Script},
    kind::ValueKind,
    lease::LeaseToken,
    scripts::{INVALIDATE, LOOK, PUT, RELEASE, RENEW},
    server_time::ServerTime,
};

/// Reads one kind of a user's hash.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What is read.
    pub kind: ValueKind,
    /// The lease to take if there is no usable value and no fetch under way; without one the script
    /// changes nothing.
    pub lease: Option<NewLease<'a>>,
    /// The greatest age of a usable value. `Duration::MAX` is no bound.
    pub max_age: Duration,
    /// A usable value began after this time.
    pub newer_than: ServerTime,
    /// The lease whose end the caller waited for, in order to share its failure.
    pub waited_for: Option<&'a LeaseToken>,
}

/// A lease that [`Look`] takes.
#[derive(Clone, Copy, Debug)]
pub struct NewLease<'a> {
    /// Its token, which no lease had before.
    pub token: &'a LeaseToken,
    /// How long the lease lasts from now on, unless it is renewed.
    pub lasts: Duration,
    /// The TTL of the user's hash. A longer one stays.
    pub ttl: Duration,
}

/// What [`Look`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Looked {
    /// The server's time at the look.
    pub now: ServerTime,
    /// When the user was last invalidated, or [`ServerTime::ZERO`].
    pub invalidated: ServerTime,
    /// What there is.
    pub outcome: LookOutcome,
}

/// What there is of one kind in a user's hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookOutcome {
    /// A usable value, sealed.
    Value(Vec<u8>),
    /// Another replica fetches it.
    Busy {
        /// The lease of that fetch.
        token: LeaseToken,
        /// When that fetch began, at or before now.
        since: ServerTime,
        /// The time until the lease ends if it is not renewed.
        left: Duration,
    },
    /// The fetch that the caller waited for failed for this reason.
    Failed(String),
    /// The caller holds the lease now, and is to fetch the value.
    Leased {
        /// When the lease began: now.
        since: ServerTime,
        /// A value that is not usable.
        old: Option<OldValue>,
    },
    /// There is no usable value and no fetch under way. Only without [`Look::lease`].
    Nothing {
        /// A value that is not usable.
        old: Option<OldValue>,
    },
}

/// A value that is not usable: too old, invalidated, or of a server whose clock was ahead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldValue {
    /// The value, sealed.
    pub sealed: Vec<u8>,
    /// When the fetch of the value began. It was invalidated since if this is not after
    /// [`Looked::invalidated`]. After [`Looked::now`] if another server's clock was ahead.
    pub since: ServerTime,
}

impl Look<'_> {
    /// Returns the call. [`Looked::parse`] reads its reply.
    pub fn call(&self, key: &str) -> Call {
        let (mode, token, lasts, ttl) = match self.lease {
            Some(NewLease { token, lasts, ttl }) => ("lead", token.as_str(), lasts, ttl),
            None => ("peek", "", Duration::ZERO, Duration::ZERO),
        };
        let args = [
            self.kind.field().into(),
            mode.into(),
            micros(self.max_age),
            micros(Duration::from_micros(self.newer_than.as_micros())),
            token.into(),
            micros(lasts),
            self.waited_for.map_or("", LeaseToken::as_str).into(),
            millis(ttl),
        ];
        call(&LOOK, key, args)
    }
}

impl Looked {
    /// Reads the reply to a [`Look`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        let (now, invalidated) = (parts.time()?, parts.time()?);
        let outcome = match parts.text()?.as_str() {
            "VALUE" => LookOutcome::Value(parts.bytes()?),
            "BUSY" => LookOutcome::Busy {
                token: LeaseToken::from_text(parts.text()?),
                since: parts.time()?,
                left: Duration::from_micros(parts.number()?),
            },
            "FAILED" => LookOutcome::Failed(parts.text()?),
            "LEASED" => LookOutcome::Leased { since: parts.time()?, old: OldValue::parse(&mut parts)? },
            "NOTHING" => LookOutcome::Nothing { old: OldValue::parse(&mut parts)? },
            _ => return Err(CallError::Script),
        };
        Ok(Self { now, invalidated, outcome })
    }
}

impl OldValue {
    fn parse(parts: &mut Parts) -> Result<Option<Self>, CallError> {
        if parts.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { sealed: parts.bytes()?, since: parts.time()? }))
    }
}

/// Extends a lease, also one that has run out, if no other caller took it over.
#[derive(Clone, Copy, Debug)]
pub struct Renew<'a> {
    /// What is fetched.
    pub kind: ValueKind,
    /// The lease.
    pub token: &'a LeaseToken,
    /// How long the lease lasts from now on.
    pub lasts: Duration,
}

impl Renew<'_> {
    /// Returns the call. [`LeaseState::parse`] reads its reply.
    pub fn call(&self, key: &str) -> Call {
        let args = [self.kind.field().into(), self.token.as_str().into(), micros(self.lasts)];
        call(&RENEW, key, args)
    }
}

/// Stores a fetched value, and ends its lease.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// What was fetched.
    pub kind: ValueKind,
    /// The lease of the fetch.
    pub token: &'a LeaseToken,
    /// The value, sealed.
    pub sealed: &'a [u8],
    /// The TTL of the user's hash. A longer one stays.
    pub ttl: Duration,
    /// Whether the user does not exist. Then the script removes the groups too.
    pub absent: bool,
}

impl Put<'_> {
    /// Returns the call. [`LeaseState::parse`] reads its reply: `Gone` if the value was not stored.
    pub fn call(&self, key: &str) -> Call {
        let args = [
            self.kind.field().into(),
            self.token.as_str().into(),
            self.sealed.into(),
            millis(self.ttl),
            flag(self.absent),
        ];
        call(&PUT, key, args)
    }
}

/// Ends a lease without a value.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// What was to be fetched.
    pub kind: ValueKind,
    /// The lease.
    pub token: &'a LeaseToken,
    /// Why the fetch failed, for those who waited for it.
    pub reason: Option<&'a str>,
    /// Removes the profile too: the fetch of the groups found that the user does not exist.
    pub forget: bool,
}

impl Release<'_> {
    /// Returns the call. [`LeaseState::parse`] reads its reply.
    pub fn call(&self, key: &str) -> Call {
        let reason = self.reason.unwrap_or_default();
        let args = [self.kind.field().into(), self.token.as_str().into(), reason.into(), flag(self.forget)];
        call(&RELEASE, key, args)
    }
}

/// Whether the caller still held its lease. If not, the script changed nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LeaseState {
    /// It did, and the script did its work.
    Held,
    /// Another caller took the lease over, the user was invalidated, or the hash is lost.
    Gone,
}

impl LeaseState {
    /// Reads the reply to a [`Renew`], [`Put`] or [`Release`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        match Parts::of(reply).text()?.as_str() {
            "OK" => Ok(Self::Held),
            "GONE" => Ok(Self::Gone),
            _ => Err(CallError::Script),
        }
    }
}

/// Notes that a user changed, and ends the leases of all fetches.
#[derive(Clone, Copy, Debug)]
pub struct Invalidate {
    /// Removes the values. Otherwise they stay for the time when Cognito fails.
    pub erase: bool,
    /// The least age of the values that become invalid: zero for all. Younger ones were fetched after
    /// the change.
    pub least_age: Duration,
    /// The TTL of the user's hash. A longer one stays.
    pub ttl: Duration,
}

impl Invalidate {
    /// Returns the call. [`invalidated`](Self::invalidated) reads its reply.
    pub fn call(self, key: &str) -> Call {
        let mode = if self.erase { "erase" } else { "expire" };
        call(&INVALIDATE, key, [mode.into(), millis(self.ttl), micros(self.least_age)])
    }

    /// Returns the time that the script noted: all values that are invalid began at or before it.
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if this is not a reply of the script.
    pub fn invalidated(reply: Reply) -> Result<ServerTime, CallError> {
        Parts::of(reply).time()
    }
}

fn call<const N: usize>(script: &'static Script, key: &str, args: [Vec<u8>; N]) -> Call {
    Call { script, keys: vec![key.to_owned()], args: args.into() }
}
