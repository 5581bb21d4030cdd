//! Requests, and what the replicas and the store have for them.

use super::{
    fetch::Fetch,
    replica::Entry,
    world::{Event, SECOND, World},
};

impl World {
    pub(super) fn next_request(&mut self, caller: usize) {
        let rate = [self.setup.singles, self.setup.batches][caller];
        if rate > 0.0 {
            let wait = -(1.0 - self.random.f64()).ln() / rate;
            self.after((wait * SECOND as f64) as u64, Event::Request(caller));
        }
    }

    pub(super) fn request(&mut self, caller: usize) {
        self.next_request(caller);
        self.tally.requests[caller] += 1;
        let replica = self.random.usize(..self.replicas.len());
        let user = match caller {
            0 => self.zipf.draw(&mut self.random),
            _ => self.random.u32(..u32::try_from(self.setup.people).unwrap()),
        };
        let entry = self.replicas[replica].cache.get(&user).copied();
        let known = self.replicas[replica].fetches.get(&user).copied();
        if let Some(entry) = entry.filter(|entry| entry.is_fresh(self.now)) {
            self.tally.local[caller] += 1;
            if entry.is_due(self.now) && known.is_none() {
                self.tally.refreshes += 1;
                self.start(Fetch::new(replica, user, None, self.now));
            }
            return;
        }
        match known.and_then(|known| self.fetches.get_mut(&known)) {
            Some(fetch) => fetch.requests += 1,
            None => self.start(Fetch::new(replica, user, Some(caller), self.now)),
        }
    }

    fn start(&mut self, fetch: Fetch) {
        self.last_number += 1;
        let id = self.last_number;
        self.replicas[fetch.replica].fetches.insert(fetch.user, id);
        self.fetches.insert(id, fetch);
        let travel = self.travel();
        self.after(travel, Event::Look(id));
    }

    /// The store answers a look: with a value, a lease, or that another fetch has the lease.
    pub(super) fn look(&mut self, id: u64) {
        let Some(fetch) = self.fetches.get(&id).copied() else { return };
        self.tally.looks += 1;
        let is_refresh = fetch.caller.is_none();
        let value = self.values.get(&fetch.user).copied();
        let is_good = |value: &Entry| value.is_fresh(self.now) && !(is_refresh && value.is_due(self.now));
        if let Some(value) = value.filter(is_good) {
            self.tally.shared[fetch.caller.unwrap_or(0)] += fetch.requests;
            self.replicas[fetch.replica].cache.insert(fetch.user, value);
            return self.end(id);
        }
        match self.leases.get(&fetch.user).copied() {
            None if fetch.follows.is_some_and(|leader| !self.fetches.contains_key(&leader)) => self.fail(id),
            None => {
                self.leases.insert(fetch.user, id);
                self.enqueue(id);
            }
            Some(_) if fetch.is_late(self.now) => self.fail(id),
            Some(leader) => {
                self.fetches.entry(id).and_modify(|fetch| fetch.follows = Some(leader));
                let poll = self.random.u64(20_000..30_000);
                self.after(poll, Event::Look(id));
            }
        }
    }

    /// Ends a fetch without a value.
    pub(super) fn fail(&mut self, id: u64) {
        let fetch = self.fetches[&id];
        self.replicas[fetch.replica].lanes[fetch.lane()].waiting.retain(|(other, _)| *other != id);
        let entry = self.replicas[fetch.replica].cache.get(&fetch.user);
        let is_usable = entry.is_some_and(|entry| self.now < entry.fetched_at + USABLE);
        let caller = fetch.caller.unwrap_or(0);
        *(if is_usable { &mut self.tally.stale[caller] } else { &mut self.tally.refused[caller] }) +=
            fetch.requests;
        self.tally.refreshes_refused += u64::from(fetch.caller.is_none());
        // The lease is released, with the reason.
        self.tally.ends += u64::from(self.leases.get(&fetch.user) == Some(&id));
        self.end(id);
    }

    pub(super) fn end(&mut self, id: u64) {
        let Some(fetch) = self.fetches.remove(&id) else { return };
        self.replicas[fetch.replica].fetches.remove(&fetch.user);
        if self.leases.get(&fetch.user) == Some(&id) {
            self.leases.remove(&fetch.user);
        }
    }
}

const USABLE: u64 = 900 * SECOND;
