//! When a call begins, and what it costs.

use std::time::Duration;

use super::{
    super::{sliding_log::WINDOW, *},
    bench::{ANYBODY, Bench, account},
};

#[test]
fn a_call_begins_at_once_or_before_the_deadline_or_never() {
    use Priority::{Background, Single};
    let over = |ms: u64| Err(Failure::BudgetExhausted(Duration::from_millis(ms)));
    // At 8 user reads a second, 3 of them at once: the calls in flight, whether Cognito throttled, the
    // priority, the deadline, and when the call begins.
    let table = [
        ("the first", 0, false, Single, 3000, Ok(0)),
        ("the third", 2, false, Single, 3000, Ok(0)),
        ("the fourth waits for an eighth of a second", 3, false, Single, 3000, Ok(125)),
        ("with just enough time for it", 3, false, Single, 225, Ok(125)),
        ("without enough time for it", 3, false, Single, 224, over(125)),
        ("the ninth waits until the first has left the window", 8, false, Single, 3000, Ok(1010)),
        ("without enough time for that", 8, false, Single, 485, over(386)),
        ("a call at once needs no time", 0, false, Single, 0, Ok(0)),
        ("a refresh", 0, false, Background, 0, Ok(0)),
        ("a refresh leaves half of a burst to others", 2, false, Background, 0, over(125)),
        ("a refresh uses only half of the rate", 4, false, Background, 0, over(886)),
        ("throttled", 0, true, Single, 3000, Ok(0)),
        ("throttled, a call does not wait", 4, true, Single, 3000, Err(Failure::Throttled)),
        ("throttled, a refresh", 4, true, Background, 0, Err(Failure::Throttled)),
    ];
    for (case, before, throttled, priority, deadline, expected) in table {
        let mut bench = Bench::at(8);
        for _ in 0..before {
            let _ = bench.ask(ANYBODY, 60_000);
        }
        let begin = bench.now;
        if before > 3 {
            bench.run(125 * (before - 3));
        }
        let late = bench.now - begin;
        if throttled {
            bench.state.categories.get_mut(QuotaCategory::UserReads).allowance.aimd.throttled(bench.now);
        }
        let asked = bench.ask(Account { priority, ..ANYBODY }, deadline);
        bench.run(4000);
        let began = asked.map(|fetch| (bench.begun[&fetch].0 - begin).as_millis());
        match (began, expected) {
            // Rounded up to the next millisecond, and after a call in flight has ended.
            (Ok(began), Ok(expected)) => {
                assert!((expected..expected + 5).contains(&began), "{case}: {began}")
            }
            (Err(failure), Err(expected)) => assert_eq!(failure, expected, "{case} at {late:?}"),
            unexpected => panic!("{case}: {unexpected:?}"),
        }
    }
}

#[test]
fn a_follow_up_call_does_not_wait_for_the_callers_limit_and_is_charged_later() {
    let mut bench = Bench::at(1000);
    let limited = account(0, Some(1), Priority::Single);
    let fetch = bench.ask(limited, 0).unwrap();
    for _ in 0..2 {
        bench.state.end(fetch, true, bench.now);
        let queued =
            bench.state.queue(fetch, QuotaCategory::UserReads, CallKind::FollowUp, bench.now, bench.now);
        assert_eq!(queued, Ok(()), "at once");
    }
    bench.state.end(fetch, true, bench.now);
    assert_eq!(bench.ask(limited, 0), Err(Failure::BudgetExhausted(3 * WINDOW)), "after three calls");
}

#[test]
fn a_refusal_is_not_charged() {
    let mut bench = Bench::at(4);
    let limited = account(0, Some(1), Priority::Single);
    bench.ask(limited, 0).unwrap();
    for _ in 0..1000 {
        assert!(bench.ask(limited, 0).is_err());
    }
    bench.run(250);
    assert!(bench.ask(ANYBODY, 0).is_ok());
    assert_eq!(bench.state.users.len(), 2, "and no user is remembered for it");
}

#[test]
fn single_requests_come_before_batches_and_follow_up_calls_before_both() {
    let mut bench = Bench::at(10);
    let order = [
        (CallKind::First, Priority::Batch),
        (CallKind::First, Priority::Single),
        (CallKind::Retry, Priority::Batch),
        (CallKind::FollowUp, Priority::Single),
        (CallKind::First, Priority::Batch),
    ];
    for _ in 0..3 {
        let _ = bench.ask(ANYBODY, 0);
    }
    let fetches = order.map(|(kind, priority)| {
        let fetch = bench.open(account(0, None, priority));
        bench.queue(fetch, kind, 5000).unwrap();
        fetch
    });
    bench.run(3000);
    let mut begun: Vec<_> = (0..5).map(|n| (bench.begun[&fetches[n]].0, n)).collect();
    begun.sort_unstable();
    assert_eq!(begun.into_iter().map(|(_, n)| n).collect::<Vec<_>>(), [2, 3, 1, 0, 4]);
}

#[test]
fn a_retry_costs_a_tenth_of_a_call_and_no_miss() {
    let mut bench = Bench::at(1000);
    let limited = account(0, Some(1), Priority::Single);
    let fetch = bench.ask(limited, 0).unwrap();
    bench.run(500);
    let fetch_again = bench.open(limited);
    assert_eq!(bench.queue(fetch_again, CallKind::Retry, 0), Ok(()));
    assert!(bench.begun.contains_key(&fetch));
    bench.run(600);
    assert!(bench.ask(limited, 0).is_ok(), "the retry is not charged");
    let retries = (0..20).map(|_| bench.open(ANYBODY)).collect::<Vec<_>>();
    let allowed = retries.into_iter().filter(|fetch| bench.queue(*fetch, CallKind::Retry, 3000).is_ok());
    assert_eq!(allowed.count(), 9);
}
