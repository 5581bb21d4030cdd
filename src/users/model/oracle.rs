//! What may be answered, given what was so and what went wrong.

use super::{
    world::{Fault, Truth, World},
    *,
};

/// A question, as its caller knows it.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) who: usize,
    pub(super) known: Known,
    pub(super) demand: Demand,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
    pub(super) leaves: Option<Instant>,
}

/// What came, and when.
pub(super) struct Outcome {
    pub(super) answer: Result<Found, Failure>,
    pub(super) at: Instant,
}

pub(super) fn check(
    asking: &Asking,
    outcome: &Outcome,
    world: &World,
    lifetimes: &Lifetimes,
    lookup: Lookup,
) {
    use Fault::{Denied, Failing, Garbage, Hanging, Lie, Reset, Slow, Throttled};
    // A failure may have been shared, noted, and waited for.
    let saw = |kinds: &[Fault]| world.saw(kinds, outcome.at - Duration::from_secs(9));
    let allowed = match &outcome.answer {
        Ok(found) => return check_found(asking, found, outcome.at, world, lifetimes),
        Err(Failure::NoSuchUser) => is_absent(asking, outcome.at, world, lifetimes, lookup),
        Err(Failure::Mismatch) => saw(&[Lie]) || world.shares_name(asking.who),
        Err(Failure::Garbled) => saw(&[Garbage]),
        Err(Failure::Refused) => saw(&[Denied]),
        Err(Failure::Throttled) => saw(&[Throttled]),
        Err(Failure::Unavailable) => saw(&[Failing, Garbage, Hanging, Reset, Slow, Denied, Lie]),
        Err(Failure::OverBudget(wait)) => *wait <= Duration::from_secs(9),
        Err(Failure::Lost | Failure::Overloaded) => false,
    };
    let tale = || world.tale(asking.who);
    assert!(allowed, "{:?} without a cause: {:?}, {}", outcome.answer, asking, tale());
}

fn check_found(asking: &Asking, found: &Found, at: Instant, world: &World, lifetimes: &Lifetimes) {
    let (user, freshness) = (found.user(), found.freshness());
    assert_eq!(user.sub, sub(asking.who), "another person's data");
    let began = at - freshness.age;
    assert!(asking.demand.allows(began), "older than demanded: {freshness:?}");
    let lifetime = if freshness.stale_reason.is_some() { lifetimes.usable } else { lifetimes.fresh };
    // What was just fetched is new, however long the fetch took.
    let longest = (lifetime * 11 / 10).max(Duration::from_millis(2100));
    assert!(freshness.age <= longest, "older than allowed: {freshness:?}");
    let told = user.attributes.get("custom:truth").unwrap();
    let was_so = |truth: Truth| {
        let text = format!("{} {} {}", asking.who, truth.version, truth.enabled);
        truth.exists && truth.enabled == user.enabled && text == told
    };
    assert!(
        ever(&world.history(asking.who), began, at, was_so),
        "never so since it was asked for: {freshness:?}"
    );
    if let Some(reason) = freshness.stale_reason {
        // Whoever has no time learns nothing of Cognito.
        let is_hasty = asking.deadline - asking.begun < Duration::from_secs(1);
        assert!(is_hasty || has_cause(reason, at, world), "stale without a cause: {reason:?}");
    }
}

fn has_cause(reason: StaleReason, at: Instant, world: &World) -> bool {
    use Fault::{Denied, Failing, Garbage, Hanging, Reset, Slow, Throttled};
    let since = at - Duration::from_secs(9);
    match reason {
        StaleReason::BudgetExhausted => true,
        StaleReason::UpstreamThrottled => world.saw(&[Throttled], since),
        StaleReason::UpstreamUnavailable => {
            world.saw(&[Denied, Failing, Garbage, Hanging, Reset, Slow], since)
        }
    }
}

/// Whether there was nobody, as far as could be told, at a time that the answer may be of.
fn is_absent(asking: &Asking, at: Instant, world: &World, lifetimes: &Lifetimes, lookup: Lookup) -> bool {
    let is_unseen =
        !asking.who.is_multiple_of(2) && lookup == Lookup::AdminGetUser && asking.known == Known::BySub;
    let oldest = at - lifetimes.absent * 11 / 10 - Duration::from_millis(2100);
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
