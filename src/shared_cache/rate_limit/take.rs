//! Asks for a call to Cognito.

use std::time::Duration;

use super::{
    super::{
        args::{Parts, flag},
        call::{Call, CallError, Reply},
        index::UserKey,
        scripts::TAKE,
        server_time::ServerTime,
    },
    CallKey, CallerKey, ClockBounds, RateLimitKeys, count,
};

/// Asks for one call to Cognito. A granted call must begin within [`GRANT_TIME`](super::GRANT_TIME) of the
/// moment at which this was sent, or be ended as one that was not made.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// What the replica knows of the clock.
    pub clock: ClockBounds<'a>,
    /// The call.
    pub call: &'a CallKey,
    /// The name of its category.
    pub category: &'a str,
    /// The most calls of the category a second, of all replicas.
    pub limit: usize,
    /// The user that it is about.
    pub user: &'a UserKey,
    /// The caller whose turn it is; none for a background call, which has half of the rate and no
    /// turn.
    pub caller: Option<CallerPlace<'a>>,
}

/// A caller at one replica.
#[derive(Clone, Copy, Debug)]
pub struct CallerPlace<'a> {
    /// The caller.
    pub caller: &'a CallerKey,
    /// The random id of the replica.
    pub replica: &'a str,
    /// Whether more of the caller's calls wait here.
    pub others_wait: bool,
    /// The limit of its own that the call is charged to.
    pub own_limit: Option<OwnLimit>,
}

/// A limit of a caller's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OwnLimit {
    /// The most calls a second, of all replicas.
    pub per_second: usize,
    /// Whether the call waits for it, and is not just charged to it.
    pub delays: bool,
}

/// What [`Take`] returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Taken {
    /// The server's time.
    pub now: ServerTime,
    /// Whether the call may begin.
    pub outcome: TakeOutcome,
}

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TakeOutcome {
    /// It may.
    Granted(Crowd),
    /// A call of the category may begin after this time, if no other takes its place.
    Full(Duration, Crowd),
    /// Calls about this user may begin after this time.
    UserFull(Duration),
    /// Calls of this caller that are charged to its own limit may begin after this time.
    CallerFull(Duration),
    /// The epoch is another one, or has ended: the replica must [`Sync`](super::Sync) first.
    UnknownEpoch,
    /// The server's time was not within the bounds.
    OutOfTime,
    /// The epoch is not open yet.
    Warm,
}

/// The calls of all replicas.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Crowd {
    /// How many callers at how many replicas wait for a call.
    pub waiting: usize,
    /// How many calls of the category count.
    pub count: usize,
}

impl Take<'_> {
    /// Returns the call of the script. [`Taken::parse`] reads its reply.
    pub fn call(&self, keys: &RateLimitKeys) -> Call {
        let caller = self.caller.map(|place| place.caller);
        let own_limit = self.caller.and_then(|place| place.own_limit);
        let name = caller.map_or("", CallerKey::as_str);
        let place = self.caller.map_or(String::new(), |place| format!("{name}:{}", place.replica));
        let args = [
            self.call.0.clone().into_bytes(),
            self.category.into(),
            count(self.limit),
            name.into(),
            place.into_bytes(),
            count(own_limit.map_or(0, |limit| limit.per_second)),
            flag(own_limit.is_some_and(|limit| limit.delays)),
            flag(self.caller.is_some_and(|place| place.others_wait)),
        ];
        let [log, turns, waits] = keys.category(self.category);
        Call {
            script: &TAKE,
            keys: vec![keys.state(), log, turns, waits, keys.user(self.user), keys.caller(caller)],
            args: self.clock.args().into_iter().chain(args).collect(),
        }
    }
}

impl Taken {
    /// Reads the reply to a [`Take`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        let now = parts.time()?;
        let outcome = match parts.text()?.as_str() {
            "GRANTED" => TakeOutcome::Granted(Crowd::parse(&mut parts)?),
            "FULL" => TakeOutcome::Full(wait(&mut parts)?, Crowd::parse(&mut parts)?),
            "USER" => TakeOutcome::UserFull(wait(&mut parts)?),
            "CALLER" => TakeOutcome::CallerFull(wait(&mut parts)?),
            "EPOCH" => TakeOutcome::UnknownEpoch,
            "CLOCK" => TakeOutcome::OutOfTime,
            "WARM" => TakeOutcome::Warm,
            _ => return Err(CallError::Script),
        };
        Ok(Self { now, outcome })
    }
}

impl Crowd {
    fn parse(parts: &mut Parts) -> Result<Self, CallError> {
        let mut count = || usize::try_from(parts.number()?).map_err(|_| CallError::Script);
        Ok(Self { waiting: count()?, count: count()? })
    }
}

fn wait(parts: &mut Parts) -> Result<Duration, CallError> {
    parts.number().map(Duration::from_micros)
}
