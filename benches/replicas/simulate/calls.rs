//! Calls to Cognito, and the limit that they wait for.

use super::{
    fetch::Fetch,
    rate_limit::{Bounds, TakeReply, TakeRequest},
    replica::Entry,
    world::{EPOCH, Event, RUN, SECOND, World},
};

impl World {
    pub(super) fn enqueue(&mut self, id: u64) {
        let fetch = self.fetches[&id];
        let (now, lane) = (self.now, &mut self.replicas[fetch.replica].lanes[fetch.lane()]);
        let begins_at = lane.expected_at(self.setup.limit, now);
        if fetch.is_late(begins_at) || fetch.caller.is_none() && begins_at > now {
            return self.fail(id);
        }
        lane.waiting.push_back((id, false));
        self.ask_for_all(fetch.replica, fetch.lane());
    }

    pub(super) fn ask_for_all(&mut self, replica: usize, lane: usize) {
        let now = self.now;
        loop {
            let of_caller = &mut self.replicas[replica].lanes[lane];
            if !of_caller.may_ask(now) {
                break;
            }
            let Some(fetch) = of_caller.next() else { break };
            let travel = self.travel();
            self.after(travel, Event::Take(fetch));
        }
        let of_caller = &mut self.replicas[replica].lanes[lane];
        let (retry_at, wakes_at) = (of_caller.retry_at, of_caller.wakes_at);
        if retry_at > now && wakes_at != retry_at && !of_caller.waiting.is_empty() {
            of_caller.wakes_at = retry_at;
            self.after(retry_at - now, Event::Wake { replica, lane });
        }
    }

    pub(super) fn take(&mut self, id: u64) {
        let fetch = self.fetches[&id];
        self.tally.takes += 1;
        let others_wait = self.replicas[fetch.replica].lanes[fetch.lane()].waiting.len() > 1;
        let request = TakeRequest {
            call: id,
            category: 0,
            limit: self.setup.limit,
            caller: fetch.caller.map(|caller| (caller as u64, fetch.replica as u64)),
            user: fetch.user.into(),
            own_limit: 0,
            waits_for_own: false,
            others_wait,
        };
        let bounds = self.bounds();
        let reply = self.limit.take(self.now, RUN, bounds, &request);
        let travel = self.travel();
        self.after(
            travel,
            match reply {
                TakeReply::Granted { .. } => Event::Granted(id),
                TakeReply::Full { wait, waiting, count } => Event::Full { fetch: id, wait, waiting, count },
                TakeReply::User(wait) => Event::Full { fetch: id, wait, waiting: 1, count: 0 },
                other => panic!("{other:?}"),
            },
        );
    }

    pub(super) fn granted(&mut self, id: u64) {
        let fetch = self.fetches[&id];
        let lane = &mut self.replicas[fetch.replica].lanes[fetch.lane()];
        lane.asked -= 1;
        lane.granted(id);
        self.tally.calls += 1;
        self.replicas[fetch.replica].calls += 1;
        let latency = self.latency();
        self.after(latency, Event::Answer(id));
        self.ask_for_all(fetch.replica, fetch.lane());
    }

    pub(super) fn full(&mut self, id: u64, wait: u64, crowd: (u64, u64, u64)) {
        let fetch = self.fetches[&id];
        let retry_at = self.now + wait;
        let lane = &mut self.replicas[fetch.replica].lanes[fetch.lane()];
        lane.asked -= 1;
        lane.refused(id, retry_at);
        lane.crowd = Some(crowd);
        let late = |(id, is_asked): &(u64, bool)| {
            let fetch = &self.fetches[id];
            !is_asked && (fetch.caller.is_none() || retry_at + SECOND / 20 > fetch.deadline)
        };
        #[expect(clippy::needless_collect, reason = "each failure changes the lane")]
        let late: Vec<_> = lane.waiting.iter().filter(|waiting| late(waiting)).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.fail(id));
        self.ask_for_all(fetch.replica, fetch.lane());
    }

    /// Cognito answers.
    pub(super) fn answer(&mut self, id: u64) {
        let Fetch { replica, user, .. } = self.fetches[&id];
        let fresh_for = self.setup.fresh_for * SECOND;
        let jitter = self.random.u64(fresh_for * 9 / 10..=fresh_for * 11 / 10);
        let entry = Entry { fetched_at: self.now, fresh_until: self.now + jitter };
        self.values.insert(user, entry);
        self.replicas[replica].cache.insert(user, entry);
        self.tally.ends += 2;
        let bounds = self.bounds();
        self.limit.end(self.now, RUN, bounds, 0, id, user.into(), None, WINDOW);
        self.end(id);
    }

    /// What a replica knows of the store's clock, some seconds after it has read it.
    fn bounds(&self) -> Bounds {
        Bounds { epoch: EPOCH, earliest: self.now - 4_000, latest: self.now + 9_000, is_watched: true }
    }
}

// How long a call counts after its end.
const WINDOW: u64 = 1_010_000;
