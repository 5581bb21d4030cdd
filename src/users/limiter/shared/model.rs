//! Model checking of the shared rate limit: random schedules of replicas, of a store that fails, and
//! of a Cognito that counts the calls it receives in any second.
//!
//! A schedule follows from its seed alone. Messages are late, lost in either direction, or arrive
//! when nobody waits for them. The store freezes, restarts, fails over and loses its last writes or
//! its data, and its clock steps. Replicas start, crash, stall, and their clocks drift. Cognito is
//! slow, or does not respond. `MODEL_SEEDS=4711..4712` replays one seed.

mod cognito;
mod faults;
mod network;
mod replica;
mod world;

use std::{collections::BTreeMap, ops::Range, thread};

use self::world::World;
use crate::{
    shared_cache::model::rate_limit::{Bounds, OFF, RateStore, Rule, TakeReply, TakeRequest},
    users::fixtures::model_seeds,
};

#[test]
fn no_second_has_more_calls_than_the_limit_and_the_cut_off_allowances() {
    let seeds = model_seeds(10_000);
    let is_whole = seeds.end - seeds.start >= 10_000;
    let totals = play(seeds, None);
    println!("{totals:#?}");
    assert!(totals.flaws.is_empty(), "{:?}", totals.flaws);
    if !is_whole {
        return;
    }
    // The bounds are reached, so that less would be noticed.
    assert_eq!((totals.granted, totals.all), (1.0, 1.0));
    assert!(totals.used.mean() > 0.9 && totals.recovered.mean() > 0.8);
}

/// Switches off one rule after the other.
#[test]
fn every_rule_is_needed() {
    let table = [
        (Rule::Background, Flaw::Background),
        (Rule::Caller, Flaw::Caller),
        (Rule::CutOff, Flaw::All),
        (Rule::Latest, Flaw::Granted),
        (Rule::Life, Flaw::Granted),
        (Rule::Line, Flaw::Unfair),
        (Rule::Open, Flaw::Granted),
        (Rule::Run, Flaw::Granted),
        (Rule::Sentinel, Flaw::Granted),
        (Rule::StepBack, Flaw::Granted),
        (Rule::Unanswered, Flaw::Well),
        (Rule::User, Flaw::User),
        (Rule::Warm, Flaw::Granted),
        (Rule::Watched, Flaw::Granted),
    ];
    for (rule, flaw) in table {
        // As many as show it.
        let found = (0..100).find_map(|n| play(100 * n..100 * (n + 1), Some(rule)).flaws.remove(&flaw));
        println!("without {rule:?}: {flaw:?} {:?}", found.as_ref().map(|seeds| &seeds[..]));
        assert!(found.is_some(), "{rule:?}");
    }
}

/// The server's clock gains 80 ms in a network in which the replica cannot see it.
#[test]
fn a_clock_that_gains_less_than_its_bounds_are_apart_lets_no_call_leave_early() {
    for (off, is_granted) in [(None, false), (Some(Rule::Slack), true)] {
        OFF.set(off);
        let mut store = RateStore::default();
        let take = |call| TakeRequest { call, limit: 1, user: call, ..TakeRequest::default() };
        let bounds = |earliest| Bounds { epoch: 1, earliest, latest: earliest + 100_000, is_watched: true };
        store.sync(0, 1, bounds(0), false, 1);
        let begins = store.take(5_000_000, 1, bounds(5_000_000), &take(1));
        assert_eq!(begins, TakeReply::Granted { waiting: 0, count: 1 });
        store.end(5_000_000, 1, bounds(5_000_000), 0, 1, 1, None, 1_010_000);
        // 0.95 s later.
        let taken = store.take(6_030_000, 1, bounds(5_950_000), &take(2));
        assert_eq!(matches!(taken, TakeReply::Granted { .. }), is_granted, "{off:?}: {taken:?}");
    }
    OFF.set(None);
}

/// What is wrong with a schedule.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Flaw {
    /// More granted calls than the limit.
    Granted,
    /// More calls than the limit and the cut-off allowances.
    All,
    /// More calls than the limit while the store was well.
    Well,
    User,
    Caller,
    Background,
    Unfair,
}

/// What a schedule has shown.
#[derive(Debug)]
struct Report {
    flaws: Vec<Flaw>,
    /// The granted calls of the worst second, as a part of the limit.
    granted: f64,
    /// All calls of the worst second, as a part of those that are allowed.
    all: f64,
    /// The part of the limit that was used while the store was well.
    used: Option<f64>,
    /// The part of the limit that was used from 2.8 s after the last fault on.
    recovered: Option<f64>,
    calls: usize,
    scripts: usize,
}

#[derive(Debug, Default)]
struct Totals {
    flaws: BTreeMap<Flaw, Vec<u64>>,
    schedules: usize,
    granted: f64,
    all: f64,
    used: Mean,
    recovered: Mean,
    calls: usize,
    scripts: usize,
}

#[derive(Debug, Default)]
struct Mean(f64, usize);

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        *self = Self(self.0 + value.unwrap_or(0.0), self.1 + usize::from(value.is_some()));
    }

    fn mean(&self) -> f64 {
        self.0 / self.1 as f64
    }
}

impl Totals {
    fn add(&mut self, seed: u64, report: Report) {
        report.flaws.into_iter().for_each(|flaw| self.flaws.entry(flaw).or_default().push(seed));
        self.schedules += 1;
        (self.granted, self.all) = (self.granted.max(report.granted), self.all.max(report.all));
        self.used.add(report.used);
        self.recovered.add(report.recovered);
        (self.calls, self.scripts) = (self.calls + report.calls, self.scripts + report.scripts);
    }
}

fn play(seeds: Range<u64>, off: Option<Rule>) -> Totals {
    let lanes = thread::available_parallelism().map_or(1, usize::from).min(4) as u64;
    let of_lane = |lane| {
        let seeds = seeds.clone().filter(move |seed| seed % lanes == lane);
        move || {
            OFF.set(off);
            seeds.map(|seed| (seed, World::new(seed).run())).collect::<Vec<_>>()
        }
    };
    let mut totals = Totals::default();
    thread::scope(|scope| {
        #[expect(clippy::needless_collect, reason = "the lanes run at the same time")]
        let lanes: Vec<_> = (0..lanes).map(|lane| scope.spawn(of_lane(lane))).collect();
        let reports = lanes.into_iter().flat_map(|lane| lane.join().expect("a lane of schedules"));
        reports.for_each(|(seed, report)| totals.add(seed, report));
    });
    totals
}
