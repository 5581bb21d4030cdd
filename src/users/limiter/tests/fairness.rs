//! How callers share the limit.

use std::time::Duration;

use super::{
    super::{sliding_log::WINDOW, *},
    bench::{ANYBODY, Bench, account},
};

#[test]
fn a_callers_own_limit_applies_to_that_caller_only() {
    let mut bench = Bench::at(1000);
    let greedy = account(0, Some(4), Priority::Single);
    for _ in 0..4 {
        assert!(bench.ask(greedy, 0).is_ok());
    }
    assert_eq!(bench.ask(greedy, 0), Err(Failure::BudgetExhausted(WINDOW)));
    for other in [account(1, Some(4), Priority::Single), account(2, None, Priority::Single)] {
        assert!(bench.ask(other, 0).is_ok());
    }
}

#[test]
fn callers_that_ask_share_the_limit_max_min_fairly() {
    // Of 96 calls a second, and 93 after the time that a call takes: what each caller asks for a second,
    // what it gets at least, and at most.
    let table: [(&str, &[Share]); 6] = [
        ("one alone gets all", &[(1000, None, 88.0, 96.0)]),
        ("two share it", &[(1000, None, 43.0, 49.0), (1000, None, 43.0, 49.0)]),
        ("the rest of a modest one is used", &[(10, None, 9.5, 11.0), (1000, None, 77.0, 87.0)]),
        (
            "and shared by the others",
            &[(5, None, 4.5, 5.5), (20, None, 19.0, 21.0), (1000, None, 32.0, 37.0), (300, None, 32.0, 37.0)],
        ),
        ("a limit of its own leaves more", &[(1000, Some(10), 8.0, 10.5), (1000, None, 77.0, 87.0)]),
        ("a limit above its part gives no more", &[(1000, Some(90), 43.0, 49.0), (1000, None, 43.0, 49.0)]),
    ];
    for (case, callers) in table {
        let mut bench = Bench::at(96);
        for step in 0..5000 {
            for (caller, (asks, own, ..)) in callers.iter().enumerate() {
                if (step + caller) * asks / 1000 > (step + caller).saturating_sub(1) * asks / 1000 {
                    let _ = bench.ask(account(caller, *own, Priority::Batch), 2000);
                }
            }
            bench.run(1);
        }
        let got = bench.begun_of();
        for (caller, (.., least, most)) in callers.iter().enumerate() {
            let got = got[&caller] as f64 / 5.0;
            assert!((*least..=*most * 1.06).contains(&got), "{case}: caller {caller} got {got} a second");
        }
    }
}

#[test]
fn who_asks_for_little_waits_for_little() {
    let mut bench = Bench::at(96);
    let (mut waits, mut singles) = (Vec::new(), Vec::new());
    for step in 0..6000 {
        // Far more than can be called, and single reads of another caller and of the same one.
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        if step % 50 == 0 {
            let caller = usize::from(step % 100 == 0);
            singles.push((bench.ask(account(caller, None, Priority::Single), 1000), bench.now));
        }
        bench.run(1);
    }
    bench.run(1000);
    for (fetch, asked) in singles {
        waits.push(bench.begun[&fetch.expect("a place in the queue")].0 - asked);
    }
    waits.sort_unstable();
    assert!(waits[waits.len() * 95 / 100] < Duration::from_millis(300), "{waits:?}");
}

#[test]
fn a_burst_of_a_caller_that_had_nothing_comes_first_until_both_have_as_much() {
    let mut bench = Bench::at(96);
    for _ in 0..3000 {
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        bench.run(1);
    }
    let begin = bench.now;
    let burst: Vec<_> =
        (0..60).map(|_| bench.ask(account(1, None, Priority::Single), 2000).expect("a place")).collect();
    for _ in 0..2000 {
        let _ = bench.ask(account(0, None, Priority::Batch), 3000);
        bench.run(1);
    }
    let mut times: Vec<_> = burst.iter().map(|fetch| (bench.begun[fetch].0 - begin).as_millis()).collect();
    times.sort_unstable();
    // Its part of a second, and then as the first of it leave the window.
    assert!(times[46] < 600 && times[59] < 1300, "{times:?}");
}

#[test]
fn a_caller_that_joins_pulls_a_fetch_ahead_on_its_own_account() {
    let limited = account(0, Some(1), Priority::Single);
    // The account that joins, its deadline, when the call then begins, and on whose account.
    let other = account(1, None, Priority::Single);
    let busy = account(2, Some(1), Priority::Single);
    let table = [
        ("without a limit", other, 1000, 0, 1),
        ("for a batch", Account { priority: Priority::Batch, ..other }, 1000, 0, 1),
        ("with its limit used up later", busy, 9000, 2020, 0),
        ("itself", limited, 9000, 2020, 0),
    ];
    for (case, joins, deadline, begins, payer) in table {
        let mut bench = Bench::at(96);
        let _ = bench.ask(busy, 0);
        for _ in 0..2 {
            let _ = bench.ask(busy, 9000);
        }
        let fetches = [(); 3].map(|()| bench.ask(limited, 9000).unwrap());
        let begin = bench.now;
        let expected_at = bench.state.join(fetches[2], joins, begin + Duration::from_millis(deadline), begin);
        let expected = expected_at.map_or(0, |at| (at - begin).as_millis());
        assert!((begins..=begins + 60).contains(&expected), "{case}: expected at {expected}");
        bench.run(4000);
        let (at, caller) = bench.begun[&fetches[2]];
        assert!((begins..=begins + 60).contains(&(at - begin).as_millis()), "{case}");
        assert_eq!(caller, Some(payer), "{case}");
    }
}

#[test]
fn a_caller_that_joins_without_time_for_it_pays_nothing_and_keeps_the_fetch_no_longer() {
    let mut bench = Bench::at(1);
    let _ = bench.ask(ANYBODY, 0);
    let fetch = bench.ask(ANYBODY, 2000).unwrap();
    let hasty = account(1, None, Priority::Single);
    let expected_at = bench.state.join(fetch, hasty, bench.now + Duration::from_millis(500), bench.now);
    assert!(expected_at.is_some_and(|at| at >= bench.now + Duration::from_millis(1000)));
    bench.run(2000);
    assert_eq!(bench.begun[&fetch].1, Some(0));
}

/// What a caller asks for a second, its own limit, and what it gets at least and at most.
type Share = (usize, Option<usize>, f64, f64);
