//! The store's server, and the messages to it and from it.

use std::collections::VecDeque;

use super::world::{Event, World};
use crate::shared_cache::model::rate_limit::{Bounds, RateStore, TakeReply, TakeRequest};

pub(super) struct Server {
    pub(super) data: RateStore,
    pub(super) run: u64,
    epochs: u64,
    /// How far its clock is ahead of the time of the schedule.
    pub(super) offset: i64,
    /// Until when it executes nothing.
    pub(super) frozen_until: u64,
    pub(super) down_until: u64,
    pub(super) inbox: Vec<Message>,
    /// The data at the times after which a failover loses what was written.
    pub(super) snapshots: VecDeque<(u64, RateStore)>,
}

#[derive(Clone)]
pub(super) struct Message {
    from: usize,
    life: u64,
    run: u64,
    id: u64,
    script: Script,
}

#[derive(Clone)]
pub(super) enum Script {
    Sync { bounds: Bounds, was_set_back: bool },
    Take(Bounds, TakeRequest),
    End { bounds: Bounds, call: u64, user: u64, own: Option<(u64, u64)>, counts: u64 },
}

/// The reply, and the server's time.
#[derive(Clone)]
pub(super) enum Reply {
    Sync { now: u64, epoch: u64, is_open: bool },
    Take(u64, TakeReply),
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            data: RateStore::default(),
            run: 1,
            epochs: 0,
            offset: 1_000_000_000_000,
            frozen_until: 0,
            down_until: 0,
            inbox: Vec::new(),
            snapshots: VecDeque::new(),
        }
    }

    /// Another run of the server, whose connections are new.
    pub(super) fn restart(&mut self, data: RateStore) {
        self.data = data;
        self.run += 1;
        self.inbox.clear();
    }

    fn execute(&mut self, now: u64, script: &Script) -> Option<Reply> {
        let now = now.checked_add_signed(self.offset).unwrap();
        match *script {
            Script::Sync { bounds, was_set_back } => {
                self.epochs += 1;
                let (epoch, is_open) = self.data.sync(now, self.run, bounds, was_set_back, self.epochs);
                Some(Reply::Sync { now, epoch, is_open })
            }
            Script::Take(bounds, request) => {
                Some(Reply::Take(now, self.data.take(now, self.run, bounds, &request)))
            }
            Script::End { bounds, call, user, own, counts } => {
                self.data.end(now, self.run, bounds, 0, call, user, own, counts);
                None
            }
        }
    }
}

impl World {
    /// Sends a script. Each connection keeps the order, and what is on its way to another run is lost.
    pub(super) fn send(&mut self, from: usize, id: u64, script: Script) {
        let (run, lost_until) = (self.server.run, self.replicas[from].lost_to);
        let Some(at) = self.arrives_at(lost_until) else { return };
        let replica = &mut self.replicas[from];
        replica.last_request_at = replica.last_request_at.max(at);
        let (at, life) = (replica.last_request_at, replica.life);
        self.at(at, Event::Request(Message { from, life, run, id, script }));
    }

    pub(super) fn receive(&mut self, message: Message) {
        if message.run != self.server.run || self.server.down_until > self.now {
            return;
        }
        if self.server.frozen_until > self.now {
            return self.server.inbox.push(message);
        }
        self.scripts += 1;
        let Some(reply) = self.server.execute(self.now, &message.script) else { return };
        let Message { from, life, id, .. } = message;
        let lost_until = self.replicas[from].lost_from;
        let Some(at) = self.arrives_at(lost_until) else { return };
        let replica = &mut self.replicas[from];
        replica.last_reply_at = replica.last_reply_at.max(at);
        let at = replica.last_reply_at;
        self.at(at, Event::Reply { replica: from, life, id, reply });
    }

    pub(super) fn thaw(&mut self) {
        if self.now >= self.server.frozen_until {
            std::mem::take(&mut self.server.inbox).into_iter().for_each(|message| self.receive(message));
        }
    }

    /// Returns when a message of now arrives; none if never.
    fn arrives_at(&mut self, lost_until: u64) -> Option<u64> {
        let (delay, is_kept) = (self.random.u64(100..=self.delay), self.random.bool());
        (lost_until <= self.now || is_kept).then_some(self.now.max(lost_until) + delay)
    }
}
