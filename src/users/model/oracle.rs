//! The oracle: which answers are allowed, given the truth at every time and the faults.

use super::{
    world::{Fault, Truth, World},
    *,
};

/// A request, as its caller knows it.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) who: usize,
    pub(super) lookup_key: LookupKey,
    /// Whether the groups are requested too.
    pub(super) groups: bool,
    pub(super) demand: Demand,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    pub(super) leaves: Option<Instant>,
}

/// The answer, and when it came.
pub(super) struct Outcome {
    pub(super) answer: Result<Found, Failure>,
    pub(super) at: Instant,
}

pub(super) fn check(asking: &Asking, outcome: &Outcome, world: &World, ttls: &Ttls, lookup: BareSubLookup) {
    use Fault::{Denied, Failing, Garbage, Hanging, Lie, Reset, Slow, Throttled};
    // A failure may have been shared, noted on the entry, and waited for.
    let saw = |kinds: &[Fault]| world.saw(kinds, outcome.at - Duration::from_secs(9));
    let allowed = match &outcome.answer {
        Ok(found) => return check_found(asking, found, outcome.at, world, ttls),
        // A name that leads to another user is an absence, and cached.
        Err(Failure::NoSuchUser) => {
            let lies_since = outcome.at - ttls.absent * 11 / 10 - Duration::from_secs(9);
            world.shares_name(asking.who)
                || world.saw(&[Lie], lies_since)
                || is_absent(asking, outcome.at, world, ttls, lookup)
        }
        Err(Failure::WrongUser) => saw(&[Lie]),
        Err(Failure::Unreadable) => saw(&[Garbage]),
        Err(Failure::AccessDenied) => saw(&[Denied]),
        Err(Failure::Throttled) => saw(&[Throttled]),
        Err(Failure::Unavailable) => saw(&[Failing, Garbage, Hanging, Reset, Slow, Denied, Lie]),
        Err(Failure::CircuitOpen(wait)) => {
            *wait <= Duration::from_secs(5) && world.saw(&[Hanging, Slow], outcome.at - OPEN)
        }
        Err(Failure::BudgetExhausted(wait)) => *wait <= Duration::from_secs(9),
        Err(Failure::Internal | Failure::Overloaded) => false,
    };
    let tale = || world.tale(asking.who);
    assert!(allowed, "{:?} without a cause: {:?}, {}", outcome.answer, asking, tale());
}

fn check_found(asking: &Asking, found: &Found, at: Instant, world: &World, ttls: &Ttls) {
    let (user, freshness) = (found.user(), found.freshness());
    assert_eq!(user.sub, sub(asking.who), "another user's data");
    let began = at - freshness.age;
    assert!(asking.demand.allows(began), "older than demanded: {freshness:?}");
    let erased = world.erased(asking.who, asking.begun);
    assert!(erased.is_none_or(|erased| began >= erased), "from before it was erased: {freshness:?}");
    let expired = world.expired(asking.who, asking.begun).filter(|_| freshness.stale_reason.is_none());
    assert!(expired.is_none_or(|expired| began >= expired), "from before it was expired: {freshness:?}");
    let ttl = if freshness.stale_reason.is_some() { ttls.usable } else { ttls.fresh };
    // A result just fetched counts as new, however long the fetch took.
    let longest = (ttl * 11 / 10).max(Duration::from_millis(2100));
    // A cached user ages while its groups are fetched.
    let waited = if asking.groups { at - asking.begun } else { Duration::ZERO };
    assert!(freshness.age <= longest + waited, "older than allowed: {freshness:?}");
    let told = user.attributes.get("custom:truth").unwrap();
    let was_so = |truth: Truth| {
        let text = format!("{} {} {}", asking.who, truth.version, truth.enabled);
        truth.exists && truth.enabled == user.enabled && text == told
    };
    assert!(
        ever(&world.history(asking.who), began, at, was_so),
        "not a state of the user since the fetch began: {freshness:?}"
    );
    let groups = found.groups().map(|groups| groups.names().map(ToOwned::to_owned).collect::<Vec<_>>());
    let was_in = |truth: Truth| {
        groups.as_ref().is_none_or(|groups| *groups == [truth.group(asking.who)] && truth.exists)
    };
    assert_eq!(groups.is_some(), asking.groups);
    assert!(ever(&world.history(asking.who), began, at, was_in), "never in these groups: {freshness:?}");
    if let Some(reason) = freshness.stale_reason {
        // A request with a short deadline learns nothing about Cognito.
        let is_hasty = asking.deadline - asking.begun < Duration::from_secs(1);
        // After the groups the user is looked up again, which may wait for the rate limit longer
        // than a request with a stale entry does.
        assert!(
            is_hasty || asking.groups || has_cause(reason, at, world),
            "stale without a cause: {reason:?}"
        );
    }
}

/// The longest time after a timeout in which the circuit breaker may still refuse calls.
const OPEN: Duration = Duration::from_secs(14);

fn has_cause(reason: StaleReason, at: Instant, world: &World) -> bool {
    use Fault::{Denied, Failing, Garbage, Hanging, Reset, Slow, Throttled};
    let since = at - Duration::from_secs(9);
    match reason {
        StaleReason::BudgetExhausted => true,
        StaleReason::UpstreamThrottled => world.saw(&[Throttled], since),
        StaleReason::UpstreamUnavailable => {
            world.saw(&[Denied, Failing, Garbage, Reset], since) || world.saw(&[Hanging, Slow], at - OPEN)
        }
    }
}

/// Whether the user did not exist, as far as Cognito could say, at a time that the answer may be
/// from.
fn is_absent(asking: &Asking, at: Instant, world: &World, ttls: &Ttls, lookup: BareSubLookup) -> bool {
    let is_unseen = !asking.who.is_multiple_of(2)
        && lookup == BareSubLookup::AdminGetUser
        && asking.lookup_key == LookupKey::Sub;
    let oldest = at - ttls.absent * 11 / 10 - Duration::from_millis(2100);
    let forgotten = [world.erased(asking.who, asking.begun), world.expired(asking.who, asking.begun)];
    let oldest = forgotten.into_iter().flatten().fold(oldest, Instant::max);
    let history = world.history(asking.who);
    let demanded = |end: Instant| asking.demand.allows(end);
    let gone = history.iter().zip(history.iter().skip(1).map(|(end, _)| *end).chain([at]));
    let mut gone = gone.filter(|((_, truth), _)| !truth.exists).map(|(_, end)| end.min(at));
    is_unseen || gone.any(|end| end >= oldest && demanded(end))
}

fn ever(history: &[(Instant, Truth)], from: Instant, to: Instant, is_so: impl Fn(Truth) -> bool) -> bool {
    let ends = history.iter().skip(1).map(|(end, _)| *end).chain([to]);
    history.iter().zip(ends).any(|((begin, truth), end)| *begin <= to && end >= from && is_so(*truth))
}
