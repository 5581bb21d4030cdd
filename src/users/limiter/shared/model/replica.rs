//! A replica: who wants calls there, how it asks the store, and what it does without an answer.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::{
        super::sliding_log::SlidingLog,
        store_clock::{Reading, Step, StoreClock},
    },
    cognito::Arrival,
    network::{Reply, Script},
    world::{Event, MS, SECOND, World},
};
use crate::shared_cache::{
    ServerTime,
    model::rate_limit::{Bounds, Rule, TakeReply, TakeRequest, rule},
};

pub(super) struct Replica {
    /// How often it has started.
    pub(super) life: u64,
    /// By how many parts in a million its clock is fast.
    pub(super) drift: i64,
    /// The calls that it wants a second.
    pub(super) demand: u64,
    clock: StoreClock,
    epoch: u64,
    was_set_back: bool,
    is_synced: bool,
    /// The sync under way.
    sync: Option<u64>,
    failures: u32,
    /// How many answers close the circuit breaker.
    breaker: u32,
    is_cut_off: bool,
    /// Until when it takes the epoch for not open.
    warm_until: u64,
    lanes: [Lane; 2],
    background_retries_at: u64,
    cut_off_log: SlidingLog,
    /// All calls of the process.
    wall: SlidingLog,
    asked: BTreeMap<u64, Asked>,
    running: BTreeMap<u64, Running>,
    /// Until when messages to the store are lost, and those from it.
    pub(super) lost_to: u64,
    pub(super) lost_from: u64,
    pub(super) stalled_until: u64,
    /// When the last message arrives.
    pub(super) last_request_at: u64,
    pub(super) last_reply_at: u64,
    wakes_at: u64,
}

/// The calls of one caller.
#[derive(Default)]
struct Lane {
    /// The user and the deadline of each call that waits.
    waiting: VecDeque<(u64, u64)>,
    asking: Option<u64>,
    retries_at: u64,
}

/// A script whose reply the replica waits for.
#[derive(Clone, Copy)]
struct Asked {
    sent: u64,
    /// The call of a take.
    call: Option<Grant>,
}

#[derive(Clone, Copy)]
struct Grant {
    call: u64,
    caller: Option<usize>,
    user: u64,
}

struct Running {
    is_answered: bool,
    grant: Option<Grant>,
}

impl Replica {
    pub(super) fn new(life: u64, drift: i64, demand: u64) -> Self {
        Self {
            life,
            drift,
            demand,
            clock: StoreClock::default(),
            epoch: 0,
            was_set_back: false,
            is_synced: false,
            sync: None,
            failures: 0,
            breaker: 0,
            is_cut_off: false,
            warm_until: 0,
            lanes: Default::default(),
            background_retries_at: 0,
            cut_off_log: SlidingLog::default(),
            wall: SlidingLog::default(),
            asked: BTreeMap::new(),
            running: BTreeMap::new(),
            lost_to: 0,
            lost_from: 0,
            stalled_until: 0,
            last_request_at: 0,
            last_reply_at: 0,
            wakes_at: u64::MAX,
        }
    }
}

impl World {
    pub(super) fn start(&mut self, r: usize) {
        let life = self.replicas[r].life;
        self.at(self.now, Event::Heartbeat(r, life));
        self.at(self.now, Event::Demand(r, life));
    }

    pub(super) fn heartbeat(&mut self, r: usize) {
        let Replica { breaker, life, .. } = self.replicas[r];
        let interval = if breaker > 0 { 250 * MS } else { SECOND };
        self.at(self.now + interval, Event::Heartbeat(r, life));
        self.sync(r);
    }

    pub(super) fn wake(&mut self, r: usize) {
        self.replicas[r].wakes_at = u64::MAX;
        self.call_or_ask(r);
    }

    /// Another call is wanted.
    pub(super) fn demand(&mut self, r: usize) {
        let next = self.now + self.random.u64(0..2 * SECOND / self.replicas[r].demand);
        self.at(next, Event::Demand(r, self.replicas[r].life));
        let user = if self.has_hot_user && self.random.bool() { 0 } else { self.random.u64(1..1 << 40) };
        // The second caller asks one replica only.
        let caller = usize::from(r == 0 && self.random.bool());
        let patience = if self.random.u8(0..4) == 0 { 5 * SECOND } else { 2 * SECOND };
        let deadline = self.now + self.random.u64(200 * MS..patience);
        self.asked_by_second += usize::from(caller == 1 && self.now > 2_600 * MS);
        let waiting = &mut self.replicas[r].lanes[caller].waiting;
        if waiting.len() < 30 {
            waiting.push_back((user, deadline));
        }
        if self.random.u8(0..6) == 0 && self.replicas[r].background_retries_at <= self.now {
            self.ask(r, None);
        }
        self.call_or_ask(r);
    }

    fn call_or_ask(&mut self, r: usize) {
        let mut wakes_at = u64::MAX;
        for caller in 0..2 {
            let now = self.now;
            self.replicas[r].lanes[caller].waiting.retain(|(_, deadline)| *deadline > now);
            wakes_at = wakes_at.min(self.call_cut_off(r, caller));
            let lane = &self.replicas[r].lanes[caller];
            match lane.asking.is_some() || lane.waiting.is_empty() {
                true => {}
                false if lane.retries_at > now => wakes_at = wakes_at.min(lane.retries_at),
                false => self.ask(r, Some(caller)),
            }
        }
        let replica = &mut self.replicas[r];
        if wakes_at < replica.wakes_at {
            replica.wakes_at = wakes_at;
            let life = replica.life;
            self.at(wakes_at, Event::Wake(r, life));
        }
    }

    /// Makes the calls of the cut-off allowance. Returns when it may have another one.
    fn call_cut_off(&mut self, r: usize, caller: usize) -> u64 {
        let (now, local) = (self.now, self.local(r, self.now));
        let most = if rule(Rule::CutOff) { self.cut_off } else { self.limit };
        loop {
            let replica = &mut self.replicas[r];
            let is_cut_off = replica.is_cut_off || replica.warm_until > now;
            if !is_cut_off || replica.lanes[caller].waiting.is_empty() {
                return u64::MAX;
            }
            if replica.cut_off_log.count(local) >= most {
                return now + 50 * MS;
            }
            let (user, _) = replica.lanes[caller].waiting.pop_front().unwrap();
            replica.cut_off_log.begin(local);
            self.call(r, Some(caller), user, None);
        }
    }

    /// Asks for a call of the caller, or for a background call.
    fn ask(&mut self, r: usize, caller: Option<usize>) {
        let call = self.new_number();
        let replica = &self.replicas[r];
        if replica.breaker > 0 {
            return;
        }
        let Some(bounds) = self.bounds(r).filter(|_| replica.is_synced) else { return self.sync(r) };
        let lane = caller.map(|caller| &replica.lanes[caller]);
        let user = lane.map_or(u64::MAX - call, |lane| lane.waiting[0].0);
        let own_limit = self.own_limit.filter(|_| caller == Some(0)).map_or(0, |limit| limit as u64);
        let request = TakeRequest {
            call,
            category: 0,
            limit: self.limit as u64,
            caller: caller.map(|caller| (caller as u64, r as u64)),
            user,
            own_limit,
            waits_for_own: own_limit > 0,
            others_wait: lane.is_some_and(|lane| lane.waiting.len() > 1),
        };
        if let Some(caller) = caller {
            self.replicas[r].lanes[caller].asking = Some(call);
        }
        self.call_script(r, call, Some(Grant { call, caller, user }), Script::Take(bounds, request));
    }

    fn sync(&mut self, r: usize) {
        if self.replicas[r].sync.is_some() {
            return;
        }
        let id = self.new_number();
        let Replica { epoch, was_set_back, .. } = self.replicas[r];
        let unknown = Bounds { epoch, earliest: 0, latest: 0, is_watched: false };
        let bounds = self.bounds(r).unwrap_or(unknown);
        self.replicas[r].sync = Some(id);
        self.call_script(r, id, None, Script::Sync { bounds, was_set_back });
    }

    fn call_script(&mut self, r: usize, id: u64, call: Option<Grant>, script: Script) {
        self.replicas[r].asked.insert(id, Asked { sent: self.now, call });
        self.send(r, id, script);
        let life = self.replicas[r].life;
        self.at(self.now + 50 * MS, Event::Timeout { replica: r, life, id });
    }

    fn bounds(&self, r: usize) -> Option<Bounds> {
        let bounds = self.replicas[r].clock.bounds(self.local(r, self.now))?;
        Some(Bounds {
            epoch: self.replicas[r].epoch,
            earliest: bounds.earliest.as_micros(),
            latest: bounds.latest.as_micros(),
            is_watched: bounds.is_watched || !rule(Rule::Watched),
        })
    }

    /// Returns a time by the replica's clock.
    fn local(&self, r: usize, time: u64) -> Instant {
        let drift = i64::try_from(time).unwrap() * self.replicas[r].drift / 1_000_000;
        self.began + Duration::from_micros(time.checked_add_signed(drift).unwrap())
    }

    pub(super) fn timed_out(&mut self, r: usize, id: u64) {
        let replica = &mut self.replicas[r];
        let Some(asked) = replica.asked.remove(&id) else { return };
        replica.sync = replica.sync.filter(|sync| *sync != id);
        replica.failures += 1;
        replica.is_cut_off |= replica.failures >= 2;
        if replica.failures >= 5 {
            replica.breaker = 3;
        }
        if let Some(Grant { caller: Some(caller), .. }) = asked.call {
            replica.lanes[caller].asking = None;
        }
        if let Some(grant) = asked.call {
            self.end(r, grant, 0);
        }
        self.call_or_ask(r);
    }

    pub(super) fn replied(&mut self, r: usize, id: u64, reply: &Reply) {
        let received = self.local(r, self.now);
        let Some(asked) = self.replicas[r].asked.remove(&id) else { return };
        let sent = self.local(r, asked.sent);
        let replica = &mut self.replicas[r];
        replica.sync = replica.sync.filter(|sync| *sync != id);
        replica.failures = 0;
        replica.breaker = replica.breaker.saturating_sub(1);
        replica.is_cut_off &= replica.breaker > 0;
        let (Reply::Sync { now: server, .. } | Reply::Take(server, _)) = *reply;
        if let Reply::Sync { epoch, .. } = *reply
            && epoch != replica.epoch
        {
            (replica.clock, replica.epoch, replica.was_set_back) = (StoreClock::default(), epoch, false);
        }
        let step = replica.clock.note(Reading { sent, received, server: ServerTime::from_micros(server) });
        replica.was_set_back |= step == Step::Back && rule(Rule::StepBack);
        match (reply, asked.call) {
            (Reply::Sync { is_open, .. }, _) => {
                replica.is_synced = !replica.was_set_back;
                replica.warm_until = if *is_open { 0 } else { self.now + 250 * MS };
            }
            (Reply::Take(_, taken), Some(grant)) => self.taken(r, asked.sent, grant, *taken),
            (Reply::Take(..), None) => unreachable!(),
        }
        if self.replicas[r].was_set_back {
            self.replicas[r].is_synced = false;
            self.sync(r);
        }
        self.call_or_ask(r);
    }

    fn taken(&mut self, r: usize, sent: u64, grant: Grant, reply: TakeReply) {
        let now = self.now;
        let replica = &mut self.replicas[r];
        let mut no_lane = Lane::default();
        let lane = grant.caller.map_or(&mut no_lane, |caller| &mut replica.lanes[caller]);
        lane.asking = None;
        replica.warm_until = if reply == TakeReply::Warm { now + 250 * MS } else { 0 };
        match reply {
            TakeReply::Epoch => {
                replica.is_synced = false;
                self.sync(r);
            }
            TakeReply::Clock => {}
            TakeReply::Warm => lane.retries_at = now + 200 * MS,
            // Those behind it may go on.
            TakeReply::User(_) => drop(lane.waiting.pop_front()),
            TakeReply::Caller(wait) | TakeReply::Full { wait, .. } => match grant.caller {
                Some(_) => lane.retries_at = now + wait,
                None => replica.background_retries_at = now + wait,
            },
            TakeReply::Granted { .. } => self.granted(r, sent, grant),
        }
    }

    fn granted(&mut self, r: usize, sent: u64, grant: Grant) {
        let local = self.local(r, self.now);
        let is_late = self.now - sent > 50 * MS;
        let replica = &mut self.replicas[r];
        let is_wanted = grant.caller.is_none_or(|caller| {
            let first = replica.lanes[caller].waiting.front();
            first.is_some_and(|(user, _)| *user == grant.user)
        });
        if is_late || !is_wanted || replica.wall.count(local) >= self.limit {
            return self.end(r, grant, 0);
        }
        if let Some(caller) = grant.caller {
            replica.lanes[caller].waiting.pop_front();
        }
        self.call(r, grant.caller, grant.user, Some(grant));
    }

    /// Calls Cognito.
    fn call(&mut self, r: usize, caller: Option<usize>, user: u64, grant: Option<Grant>) {
        let now = self.now;
        let is_slow = self.slow_cognito.is_some_and(|(from, to)| (from..to).contains(&now));
        let latency = match self.random.u8(0..100) {
            _ if is_slow => self.random.u64(300 * MS..1_400 * MS),
            0 => self.random.u64(100 * MS..1_500 * MS),
            _ => self.random.u64(10 * MS..80 * MS),
        };
        let (is_answered, takes) = (latency < SECOND, latency.min(SECOND));
        // A request without a response may arrive after its attempt has ended.
        let is_late = !is_answered && self.random.u8(0..3) == 0;
        let reaches = self.random.u64(0..=takes + if is_late { SECOND } else { 0 });
        self.arrivals.push(Arrival { at: now + reaches, caller, user, is_granted: grant.is_some() });
        let (call, local) = (self.new_number(), self.local(r, now));
        let replica = &mut self.replicas[r];
        replica.wall.begin(local);
        replica.running.insert(call, Running { is_answered, grant });
        let life = replica.life;
        self.at(now + takes, Event::CallEnds { replica: r, life, call });
    }

    pub(super) fn call_ends(&mut self, r: usize, call: u64) {
        let local = self.local(r, self.now);
        let replica = &mut self.replicas[r];
        let Running { is_answered, grant } = replica.running.remove(&call).unwrap();
        let counts = if is_answered || !rule(Rule::Unanswered) { 1_010 * MS } else { 2_020 * MS };
        let leaves_at = local + Duration::from_micros(counts);
        replica.wall.end(leaves_at);
        match grant {
            None => replica.cut_off_log.end(leaves_at),
            Some(grant) => self.end(r, grant, counts),
        }
        self.call_or_ask(r);
    }

    fn end(&mut self, r: usize, grant: Grant, counts: u64) {
        let Some(bounds) = self.bounds(r).filter(|_| self.replicas[r].breaker == 0) else { return };
        let Grant { call, caller, user } = grant;
        let own = self.own_limit.filter(|_| caller == Some(0)).map(|limit| (0, limit as u64));
        self.send(r, 0, Script::End { bounds, call, user, own, counts });
    }
}
