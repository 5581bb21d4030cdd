//! The oracle: which answers are allowed, given the truth at every time and the faults.

use super::{
    world::{Fault, Moment, Truth, World},
    *,
};

/// A request, as its caller knows it.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) who: usize,
    pub(super) account: Account,
    pub(super) lookup_key: LookupKey,
    /// Whether the groups are requested too.
    pub(super) groups: bool,
    pub(super) requirement: FreshnessRequirement,
    pub(super) begun: BootTime,
    /// The time until the deadline.
    pub(super) time: Duration,
    pub(super) deadline: Instant,
    pub(super) leaves: Option<Instant>,
}

/// The answer, and when it came.
pub(super) struct Outcome {
    pub(super) answer: Result<Found, Failure>,
    pub(super) at: Moment,
}

pub(super) fn check(asking: &Asking, outcome: &Outcome, world: &World, ttls: &Ttls, lookup: BareSubLookup) {
    use Fault::{Denied, Failing, Garbage, Hanging, Lie, Reset, Slow, Throttled};
    // A failure may have been shared, noted on the entry, and waited for.
    let saw = |kinds: &[Fault]| world.saw(kinds, outcome.at.timers - Duration::from_secs(9));
    let allowed = match &outcome.answer {
        Ok(found) => return check_found(asking, found, outcome.at, world, ttls),
        // A name that leads to another user is an absence, and cached.
        Err(Failure::NoSuchUser) => {
            let lies_since = outcome.at.timers - ttls.absent * 11 / 10 - Duration::from_secs(9);
            world.shares_name(asking.who)
                || world.saw(&[Lie], lies_since)
                || is_absent(asking, outcome.at.ages, world, ttls, lookup)
        }
        Err(Failure::WrongUser) => saw(&[Lie]),
        Err(Failure::Unreadable) => saw(&[Garbage]),
        Err(Failure::AccessDenied) => saw(&[Denied]),
        Err(Failure::Throttled) => saw(&[Throttled]),
        Err(Failure::Unavailable) => {
            // Cognito need not be down to take longer than the answer may be old.
            let is_young =
                matches!(asking.requirement, FreshnessRequirement::MaxAge(age) if age < LONGEST_FETCH);
            is_young || saw(&[Failing, Garbage, Hanging, Reset, Slow, Denied, Lie])
        }
        Err(Failure::CircuitOpen(wait)) => {
            *wait <= Duration::from_secs(5) && world.saw(&[Hanging, Slow], outcome.at.timers - OPEN)
        }
        Err(Failure::BudgetExhausted(wait)) => {
            let is_limited = asking.account.caller_limit.misses_per_second.is_some();
            let is_calm = world.is_calm(asking.who, outcome.at.timers);
            // The calls of a few requests at once are spread evenly, which may be too late for a short deadline.
            let is_too_late = outcome.at.timers + *wait + CALL_TIME > asking.deadline;
            let is_spread = *wait <= Duration::from_millis(250) && is_too_late;
            *wait <= Duration::from_secs(9) && (is_limited || !is_calm || is_spread)
        }
        Err(Failure::Internal | Failure::Overloaded) => false,
    };
    let tale = || world.tale(asking.who);
    assert!(allowed, "{:?} without a cause: {:?}, {}", outcome.answer, asking, tale());
}

fn check_found(asking: &Asking, found: &Found, moment: Moment, world: &World, ttls: &Ttls) {
    let at = moment.ages;
    let (user, freshness) = (found.user(), found.freshness());
    assert_eq!(user.sub, sub(asking.who), "another user's data");
    let began = at - freshness.age;
    assert!(asking.requirement.is_satisfied(began, at), "older than required: {freshness:?}");
    let erased = world.erased(asking.who, asking.begun);
    assert!(erased.is_none_or(|erased| began >= erased), "from before it was erased: {freshness:?}");
    let expired = world.expired(asking.who, asking.begun).filter(|_| freshness.stale_reason.is_none());
    assert!(expired.is_none_or(|expired| began >= expired), "from before it was expired: {freshness:?}");
    let ttl = if freshness.stale_reason.is_some() { ttls.usable } else { ttls.fresh };
    // A result just fetched counts as new, however long the fetch took.
    let longest = (ttl * 11 / 10).max(LONGEST_FETCH);
    // A cached user ages while its groups are fetched, and any answer while the machine sleeps.
    let waited =
        if asking.groups || world.slept_since(asking.begun) { at - asking.begun } else { Duration::ZERO };
    assert!(freshness.age <= longest + waited, "older than allowed: {freshness:?}");
    let told = user.attributes.get("custom:truth").unwrap();
    let was_so = |truth: Truth| {
        let text = format!("{} {} {}", asking.who, truth.version, truth.enabled);
        truth.exists && truth.enabled == user.enabled && text == told
    };
    // Nor is a user enabled that a fetch has since found disabled or deleted.
    let known = world.known_gone(0, asking.who, asking.begun).filter(|_| user.enabled);
    assert!(
        ever(&world.history(asking.who), known.map_or(began, |known| known.max(began)), at, was_so),
        "not a state of the user since the fetch began, or since it was gone at {known:?}: {freshness:?}"
    );
    let groups = found.groups().map(|groups| groups.names().map(ToOwned::to_owned).collect::<Vec<_>>());
    let was_in = |truth: Truth| {
        groups.as_ref().is_none_or(|groups| *groups == [truth.group(asking.who)] && truth.exists)
    };
    assert_eq!(groups.is_some(), asking.groups);
    assert!(ever(&world.history(asking.who), began, at, was_in), "never in these groups: {freshness:?}");
    if let Some(reason) = freshness.stale_reason {
        // A request with a short deadline learns nothing about Cognito.
        let is_hasty = asking.time < Duration::from_secs(1);
        // After the groups the user is looked up again, which may wait for the rate limit longer
        // than a request with a stale entry does.
        assert!(
            is_hasty || asking.groups || has_cause(reason, moment, world),
            "stale without a cause: {reason:?}"
        );
    }
}

/// The longest time after a timeout in which the circuit breaker may still refuse calls.
const OPEN: Duration = Duration::from_secs(14);

fn has_cause(reason: StaleReason, at: Moment, world: &World) -> bool {
    use Fault::{Denied, Failing, Garbage, Hanging, Reset, Slow, Throttled};
    let since = at.timers - Duration::from_secs(9);
    match reason {
        StaleReason::BudgetExhausted => true,
        StaleReason::UpstreamThrottled => world.saw(&[Throttled], since),
        StaleReason::UpstreamUnavailable => {
            world.saw(&[Denied, Failing, Garbage, Reset], since)
                || world.saw(&[Hanging, Slow], at.timers - OPEN)
        }
    }
}

/// Whether the user did not exist, as far as Cognito could say, at a time that the answer may be
/// from.
fn is_absent(asking: &Asking, at: BootTime, world: &World, ttls: &Ttls, lookup: BareSubLookup) -> bool {
    let is_unseen = !asking.who.is_multiple_of(2)
        && lookup == BareSubLookup::AdminGetUser
        && asking.lookup_key == LookupKey::Sub;
    let oldest = at - ttls.absent * 11 / 10 - LONGEST_FETCH;
    let forgotten = [world.erased(asking.who, asking.begun), world.expired(asking.who, asking.begun)];
    let oldest = forgotten.into_iter().flatten().fold(oldest, BootTime::max);
    let history = world.history(asking.who);
    let is_satisfied = |end| asking.requirement.is_satisfied(end, at);
    let gone = history.iter().zip(history.iter().skip(1).map(|(end, _)| *end).chain([at]));
    let mut gone = gone.filter(|((_, truth), _)| !truth.exists).map(|(_, end)| end.min(at));
    is_unseen || gone.any(|end| end >= oldest && is_satisfied(end))
}

pub(super) fn ever(
    history: &[(BootTime, Truth)],
    from: BootTime,
    to: BootTime,
    is_so: impl Fn(Truth) -> bool,
) -> bool {
    let ends = history.iter().skip(1).map(|(end, _)| *end).chain([to]);
    history.iter().zip(ends).any(|((begin, truth), end)| *begin <= to && end >= from && is_so(*truth))
}

// The time that the rate limiter leaves for a call.
const CALL_TIME: Duration = Duration::from_millis(100);
// The longest time from the start of a fetch to its result, if the machine does not sleep.
const LONGEST_FETCH: Duration = Duration::from_millis(2100);
