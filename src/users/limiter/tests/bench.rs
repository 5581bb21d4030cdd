//! A limiter's state on a clock of its own, and a Cognito that receives its calls.

use std::{collections::HashMap, time::Duration};

use super::super::{
    state::{CallState, LimiterState},
    *,
};

/// A limiter's state, and when its calls began.
pub(super) struct Bench {
    pub(super) state: LimiterState,
    pub(super) now: Instant,
    pub(super) category: QuotaCategory,
    last_id: u64,
    random: fastrand::Rng,
    /// The most that a call takes, in milliseconds.
    pub(super) most_latency: u64,
    /// The users of the fetches that wait, and until when.
    pub(super) waiting: HashMap<FetchId, (Key, Instant)>,
    running: Vec<(FetchId, Instant, bool)>,
    /// When each call began, and on whose account.
    pub(super) begun: HashMap<FetchId, (Instant, Option<usize>)>,
    pub(super) received: Vec<Received>,
}

/// A call that arrived at Cognito.
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) user: Key,
    pub(super) payer: Option<usize>,
}

impl Bench {
    pub(super) fn at(rate: usize) -> Self {
        let settings = BudgetSettings {
            user_reads_per_second: Some(rate),
            lists_per_second: Some(rate),
            group_reads_per_second: Some(rate),
            ..BudgetSettings::default()
        };
        Self {
            state: LimiterState::new(&settings),
            now: Instant::now(),
            category: QuotaCategory::UserReads,
            last_id: 0,
            random: fastrand::Rng::with_seed(1),
            most_latency: 1,
            waiting: HashMap::new(),
            running: Vec::new(),
            begun: HashMap::new(),
            received: Vec::new(),
        }
    }

    pub(super) fn user(&mut self) -> Key {
        self.last_id += 1;
        Key {
            pool: "eu-west-1_A".parse().unwrap(),
            sub: format!("user-{}", self.last_id).parse().unwrap(),
            kind: crate::users::EntryKind::Profile,
        }
    }

    /// Begins a fetch of a new user, whose first call begins now or within `wait` ms.
    pub(super) fn ask(&mut self, account: Account, wait: u64) -> Result<FetchId, Failure> {
        let user = self.user();
        self.ask_about(&user, account, wait)
    }

    pub(super) fn ask_about(&mut self, user: &Key, account: Account, wait: u64) -> Result<FetchId, Failure> {
        let fetch = self.open_about(user.clone(), account);
        self.queue(fetch, CallKind::First, wait).map(|()| fetch)
    }

    pub(super) fn open(&mut self, account: Account) -> FetchId {
        let user = self.user();
        self.open_about(user, account)
    }

    fn open_about(&mut self, user: Key, account: Account) -> FetchId {
        self.last_id += 1;
        let fetch = FetchId(self.last_id);
        self.state.open(fetch, account, user.clone(), Arc::default(), self.now);
        self.waiting.insert(fetch, (user, self.now));
        fetch
    }

    pub(super) fn queue(&mut self, fetch: FetchId, kind: CallKind, wait: u64) -> Result<(), Failure> {
        let deadline = self.now + Duration::from_millis(wait);
        let queued = self.state.queue(fetch, self.category, kind, deadline, self.now);
        if let Some((_, until)) = self.waiting.get_mut(&fetch) {
            *until = deadline.checked_sub(LEAST_TIME).unwrap();
        }
        if queued.is_err() {
            self.waiting.remove(&fetch);
            self.state.close(fetch, self.now);
        }
        self.note_begun();
        queued
    }

    /// Lets so many milliseconds pass.
    pub(super) fn run(&mut self, ms: usize) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            let (over, running): (Vec<_>, Vec<_>) =
                self.running.drain(..).partition(|(_, end, _)| *end <= self.now);
            self.running = running;
            for (fetch, _, is_answered) in over {
                self.state.end(fetch, is_answered, self.now);
                self.state.close(fetch, self.now);
            }
            self.state.dispatch_all(self.now);
            self.note_begun();
            let due = self.waiting.iter().filter(|(_, (_, until))| *until <= self.now);
            for fetch in Vec::from_iter(due.map(|(fetch, _)| *fetch)) {
                if self.state.waits_until(fetch, self.now).is_err() {
                    self.state.close(fetch, self.now);
                    self.waiting.remove(&fetch);
                }
            }
        }
    }

    fn note_begun(&mut self) {
        for fetch in Vec::from_iter(self.waiting.keys().copied()) {
            let CallState::Begun { payer, at, .. } = self.state.fetches[&fetch].call else { continue };
            let (user, _) = self.waiting.remove(&fetch).unwrap();
            self.begun.insert(fetch, (at, payer));
            let latency = Duration::from_millis(self.random.u64(0..=self.most_latency));
            let travel = latency.mul_f64(self.random.f64());
            // An attempt ends after a second, wherever its request is.
            let end = at + latency.min(Duration::from_secs(1));
            self.running.push((fetch, end, latency <= Duration::from_secs(1)));
            self.received.push(Received { at: at + travel, user, payer });
        }
    }

    /// How many calls each caller made.
    pub(super) fn begun_of(&self) -> HashMap<usize, usize> {
        let mut calls = HashMap::new();
        for (_, payer) in self.begun.values() {
            *calls.entry(payer.unwrap()).or_default() += 1;
        }
        calls
    }
}

pub(super) fn account(caller: usize, misses_per_second: Option<usize>, priority: Priority) -> Account {
    Account { priority, caller_limit: CallerRateLimit { caller, misses_per_second } }
}

pub(super) const ANYBODY: Account = Account {
    priority: Priority::Single,
    caller_limit: CallerRateLimit { caller: 0, misses_per_second: None },
};
