//! The events of one simulation, in the order of their times.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::{
    Setup,
    demand::Zipf,
    fetch::Fetch,
    rate_limit::{Bounds, RateStore},
    replica::{Entry, Replica},
    report::{Report, Tally},
};

/// Times are in microseconds.
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) now: u64,
    pub(super) random: fastrand::Rng,
    pub(super) zipf: Zipf,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) last_number: u64,
    pub(super) replicas: Vec<Replica>,
    pub(super) fetches: HashMap<u64, Fetch>,
    /// The rate limit in the store.
    pub(super) limit: RateStore,
    /// The users in the store, and the fetches that have a lease.
    pub(super) values: HashMap<u32, Entry>,
    pub(super) leases: HashMap<u32, u64>,
    pub(super) tally: Tally,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Event {
    /// A request of this caller.
    Request(usize),
    /// A look reaches the store.
    Look(u64),
    Take(u64),
    Granted(u64),
    Full {
        fetch: u64,
        wait: u64,
        waiting: u64,
        count: u64,
    },
    Answer(u64),
    Wake {
        replica: usize,
        lane: usize,
    },
    Measure,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut limit = RateStore::default();
        let bounds = |epoch, is_watched| Bounds { epoch, earliest: START - 1, latest: START + 1, is_watched };
        limit.sync(START, RUN, bounds(0, false), false, EPOCH);
        limit.sync(START, RUN, bounds(EPOCH, true), false, EPOCH + 1);
        let mut world = Self {
            setup,
            now: START,
            random: fastrand::Rng::with_seed(11),
            zipf: Zipf::new(setup.people, setup.exponent),
            queue: BinaryHeap::new(),
            last_number: 0,
            replicas: (0..setup.replicas).map(|_| Replica::new()).collect(),
            fetches: HashMap::new(),
            limit,
            values: HashMap::new(),
            leases: HashMap::new(),
            tally: Tally::default(),
        };
        (0..CALLERS).for_each(|caller| world.next_request(caller));
        world.after(MEASURED_FROM, Event::Measure);
        world
    }

    pub(super) fn run(mut self) -> Report {
        while let Some(Reverse((at, _, event))) = self.queue.pop()
            && at < START + END
        {
            self.now = at;
            self.happen(event);
        }
        Report {
            setup: self.setup,
            tally: self.tally,
            of_replicas: self.replicas.iter().map(|replica| replica.calls).collect(),
            seconds: (END - MEASURED_FROM) as f64 / SECOND as f64,
        }
    }

    pub(super) fn after(&mut self, time: u64, event: Event) {
        self.last_number += 1;
        self.queue.push(Reverse((self.now + time, self.last_number, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request(caller) => self.request(caller),
            Event::Look(fetch) => self.look(fetch),
            Event::Take(fetch) => self.take(fetch),
            Event::Granted(fetch) => self.granted(fetch),
            Event::Full { fetch, wait, waiting, count } => self.full(fetch, wait, (self.now, waiting, count)),
            Event::Answer(fetch) => self.answer(fetch),
            Event::Wake { replica, lane } => self.ask_for_all(replica, lane),
            Event::Measure => {
                self.tally = Tally::default();
                self.replicas.iter_mut().for_each(|replica| replica.calls = 0);
            }
        }
    }

    /// Returns how long a message to or from the store takes.
    pub(super) fn travel(&mut self) -> u64 {
        self.random.u64(150..500)
    }

    /// Returns how long a call to Cognito takes.
    pub(super) fn latency(&mut self) -> u64 {
        let [one, other] = [self.random.f64(), self.random.f64()];
        // Box and Muller's normal distribution.
        let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        (35_000.0 * (0.5 * normal).exp()) as u64
    }
}

pub(super) const SECOND: u64 = 1_000_000;
/// A caller of single users, and one of batches.
pub(super) const CALLERS: usize = 2;
const START: u64 = 10_000 * SECOND;
const MEASURED_FROM: u64 = 300 * SECOND;
const END: u64 = 600 * SECOND;
pub(super) const EPOCH: u64 = 1;
pub(super) const RUN: u64 = 1;
