//! One schedule: its events, in the order of their times.

use std::{cmp::Reverse, collections::BinaryHeap};

use tokio::time::Instant;

use super::{
    Report,
    cognito::Arrival,
    faults::Fault,
    network::{Message, Reply, Server},
    replica::Replica,
};

/// Times are in microseconds.
pub(super) const MS: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;
pub(super) const END: u64 = 7 * SECOND;

pub(super) struct World {
    pub(super) now: u64,
    pub(super) random: fastrand::Rng,
    /// The time of each event, its number, and its place in `planned`.
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    planned: Vec<Option<Event>>,
    free: Vec<usize>,
    last_number: u64,
    /// When the schedule begins, by the clock of a replica that does not drift.
    pub(super) began: Instant,
    pub(super) limit: usize,
    pub(super) cut_off: usize,
    /// The first caller's own limit.
    pub(super) own_limit: Option<usize>,
    /// Whether every other call is about one user.
    pub(super) has_hot_user: bool,
    pub(super) server: Server,
    pub(super) replicas: Vec<Replica>,
    pub(super) arrivals: Vec<Arrival>,
    /// The most that a message takes on its way.
    pub(super) delay: u64,
    /// When Cognito is slow.
    pub(super) slow_cognito: Option<(u64, u64)>,
    /// When the last fault ends; 0 if there is none.
    pub(super) last_fault: u64,
    pub(super) scripts: usize,
    pub(super) asked_by_second: usize,
}

#[derive(Clone)]
pub(super) enum Event {
    Start(usize),
    Demand(usize, u64),
    Heartbeat(usize, u64),
    Wake(usize, u64),
    Request(Message),
    Reply { replica: usize, life: u64, id: u64, reply: Reply },
    Timeout { replica: usize, life: u64, id: u64 },
    CallEnds { replica: usize, life: u64, call: u64 },
    Fault(Fault),
    Thaw,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = [4, 4, 5, 5, 6, 6, 6, 8, 8, 16][random.usize(..10)];
        let limit = random.usize(4..25);
        let from = random.u64(0..5 * SECOND);
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            planned: Vec::new(),
            free: Vec::new(),
            last_number: 0,
            began: Instant::now(),
            limit,
            cut_off: (limit / 4 / count).max(1),
            own_limit: random.bool().then(|| random.usize(1..=limit)),
            has_hot_user: random.u8(0..4) == 0,
            server: Server::new(),
            replicas: Vec::new(),
            arrivals: Vec::new(),
            delay: random.u64(500..4 * MS),
            slow_cognito: (random.u8(0..3) == 0).then(|| (from, from + random.u64(0..3 * SECOND))),
            last_fault: 0,
            scripts: 0,
            asked_by_second: 0,
            random,
        };
        let (are_all_busy, part) = (world.random.bool(), (limit / count) as u64);
        for replica in 0..count {
            let demand = match are_all_busy || world.random.bool() {
                true => 1 + part + world.random.u64(0..=5 * part),
                false => 1 + world.random.u64(0..=part),
            };
            let drift = world.random.i64(-400..400);
            world.replicas.push(Replica::new(0, drift, demand));
            let at = world.random.u64(0..500 * MS);
            world.at(at, Event::Start(replica));
        }
        (0..world.random.usize(0..4)).for_each(|_| world.add_random_fault());
        world
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.planned.push(None);
            self.planned.len() - 1
        });
        self.planned[place] = Some(event);
        let number = self.new_number();
        self.queue.push(Reverse((at, number, place)));
    }

    pub(super) fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn run(mut self) -> Report {
        while let Some(Reverse((at, _, place))) = self.queue.pop()
            && at <= END
        {
            for (then, data) in &mut self.server.snapshots {
                if (self.now + 1..=at).contains(then) {
                    *data = self.server.data.clone();
                }
            }
            self.now = at;
            self.free.push(place);
            let event = self.planned[place].take().unwrap();
            match self.stalls(&event) {
                Some(until) => self.at(until, event),
                None => self.happen(event),
            }
        }
        self.report()
    }

    /// Returns until when a replica that does not run leaves the event.
    fn stalls(&self, event: &Event) -> Option<u64> {
        let replica = match event {
            Event::Demand(replica, _) | Event::Heartbeat(replica, _) | Event::Wake(replica, _) => replica,
            Event::Reply { replica, .. } | Event::Timeout { replica, .. } => replica,
            Event::CallEnds { replica, .. } => replica,
            Event::Start(_) | Event::Request(_) | Event::Fault(_) | Event::Thaw => return None,
        };
        Some(self.replicas[*replica].stalled_until).filter(|until| *until > self.now)
    }

    fn happen(&mut self, event: Event) {
        let lives = |replica: usize, life: u64| self.replicas[replica].life == life;
        match event {
            Event::Start(replica) => self.start(replica),
            Event::Demand(replica, life) if lives(replica, life) => self.demand(replica),
            Event::Heartbeat(replica, life) if lives(replica, life) => self.heartbeat(replica),
            Event::Wake(replica, life) if lives(replica, life) => self.wake(replica),
            Event::Reply { replica, life, id, reply } if lives(replica, life) => {
                self.replied(replica, id, &reply);
            }
            Event::Timeout { replica, life, id } if lives(replica, life) => self.timed_out(replica, id),
            Event::CallEnds { replica, life, call } if lives(replica, life) => self.call_ends(replica, call),
            Event::Request(message) => self.receive(message),
            Event::Fault(fault) => self.begin_fault(fault),
            Event::Thaw => self.thaw(),
            // Of a replica that died.
            _ => {}
        }
    }
}
