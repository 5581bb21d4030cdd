//! What goes wrong in a schedule.

use super::{
    replica::Replica,
    world::{Event, MS, SECOND, World},
};
use crate::shared_cache::model::rate_limit::RateStore;

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Messages of the replica to the store, or from it, are lost or come when this ends.
    Partition { replica: usize, to: bool, from: bool, time: u64 },
    /// The server executes nothing, and then what came in meanwhile.
    Freeze(u64),
    /// Another server becomes the primary. It has a clock of its own, and lacks the last writes.
    Failover { lost: u64, skew: i64 },
    /// The server starts again after this time, perhaps without its data.
    Restart { time: u64, keeps_data: bool },
    /// All data is removed.
    Flush,
    /// The log is evicted.
    Evict,
    /// The server's clock steps.
    Step(i64),
    /// Messages take up to so long, for so long.
    Slow(u64, u64),
    /// A replica dies, and starts again after this time.
    Crash { replica: usize, time: u64 },
    /// A replica does not run.
    Stall { replica: usize, time: u64 },
}

impl World {
    pub(super) fn add_random_fault(&mut self) {
        let at = self.random.u64(2_500 * MS..5 * SECOND);
        let replica = self.random.usize(..self.replicas.len());
        let time = self.random.u64(10 * MS..3 * SECOND);
        let sign = if self.random.bool() { 1 } else { -1 };
        let fault = match self.random.u8(0..14) {
            0 | 1 => return self.add_partition(at, replica, time),
            2 => Fault::Freeze(time),
            3 | 4 => {
                let skew = [0, self.random.i64(0..50_000), self.random.i64(0..20_000_000)];
                let lost = self.random.u64(0..600 * MS) * u64::from(self.random.bool());
                Fault::Failover { lost, skew: sign * skew[self.random.usize(..3)] }
            }
            5 => Fault::Restart { time, keeps_data: self.random.bool() },
            6 => [Fault::Flush, Fault::Evict][self.random.usize(..2)],
            7 => return self.add_steps(at, sign),
            8 => Fault::Slow(self.random.u64(10 * MS..100 * MS), time),
            9 => return self.add_unseen_steps(replica),
            10 => {
                // Less than the bounds of the clock are apart in a slow network.
                for _ in 0..5 {
                    let at = at + self.random.u64(0..SECOND);
                    let step = self.random.i64(30_000..80_000);
                    self.add_fault(at, Fault::Step(step));
                }
                return self.add_fault(at - 500 * MS, Fault::Slow(24 * MS, 3 * SECOND));
            }
            11 => Fault::Crash { replica, time },
            _ => Fault::Stall { replica, time: self.random.u64(10 * MS..3_900 * MS) },
        };
        self.add_fault(at, fault);
    }

    fn add_partition(&mut self, at: u64, replica: usize, time: u64) {
        let (to, from) = [(true, true), (true, false), (false, true)][self.random.usize(..3)];
        let is_of_all = self.random.u8(0..4) == 0;
        for replica in if is_of_all { 0..self.replicas.len() } else { replica..replica + 1 } {
            self.add_fault(at, Fault::Partition { replica, to, from, time });
        }
    }

    fn add_steps(&mut self, at: u64, sign: i64) {
        let ranges = [1_000..100_000, 100_000..2_000_000, 1_000_000..20_000_000];
        let range = ranges[self.random.usize(..3)].clone();
        let step = sign * self.random.i64(range);
        if self.random.bool() {
            let later = at + self.random.u64(10 * MS..3 * SECOND);
            self.add_fault(later, Fault::Step(-step));
        }
        self.add_fault(at, Fault::Step(step));
    }

    /// The clock is set back and then forward again while one replica does not reach the store.
    fn add_unseen_steps(&mut self, replica: usize) {
        let at = 2_500 * MS;
        let step = self.random.i64(1_100_000..9_000_000);
        let back = at + self.random.u64(10 * MS..400 * MS);
        let forth = back + self.random.u64(2_150 * MS..2_800 * MS);
        self.add_fault(back, Fault::Step(-step));
        self.add_fault(forth, Fault::Step(step));
        let time = forth - at + self.random.u64(0..100 * MS);
        self.add_fault(at, Fault::Partition { replica, to: true, from: true, time });
    }

    fn add_fault(&mut self, at: u64, fault: Fault) {
        let lasts = match fault {
            Fault::Partition { time, .. }
            | Fault::Freeze(time)
            | Fault::Restart { time, .. }
            | Fault::Slow(_, time)
            | Fault::Crash { time, .. }
            | Fault::Stall { time, .. } => time,
            _ => 0,
        };
        self.last_fault = self.last_fault.max(at + lasts);
        if let Fault::Failover { lost, .. } = fault {
            self.server.snapshots.push_back((at - lost, RateStore::default()));
        }
        self.at(at, Event::Fault(fault));
    }

    pub(super) fn begin_fault(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Partition { replica, to, from, time } => {
                let replica = &mut self.replicas[replica];
                let until = |is_lost| if is_lost { now + time } else { 0 };
                (replica.lost_to, replica.lost_from) = (until(to), until(from));
            }
            Fault::Freeze(time) => {
                self.server.frozen_until = now + time;
                self.at(now + time, Event::Thaw);
            }
            Fault::Failover { skew, .. } => {
                let (_, data) = self.server.snapshots.pop_front().unwrap();
                self.server.restart(data);
                (self.server.offset, self.server.frozen_until) = (self.server.offset + skew, 0);
            }
            Fault::Restart { time, keeps_data } => {
                let data = if keeps_data { self.server.data.clone() } else { RateStore::default() };
                self.server.restart(data);
                self.server.down_until = now + time;
            }
            Fault::Flush => self.server.data = RateStore::default(),
            Fault::Evict => self.server.data.evict(0),
            Fault::Step(step) => self.server.offset += step,
            Fault::Slow(delay, time) => {
                let before = std::mem::replace(&mut self.delay, delay);
                if time > 0 {
                    self.at(now + time, Event::Fault(Fault::Slow(before, 0)));
                }
            }
            Fault::Stall { replica, time } => self.replicas[replica].stalled_until = now + time,
            Fault::Crash { replica, time } => {
                let Replica { life, drift, demand, .. } = self.replicas[replica];
                self.replicas[replica] = Replica::new(life + 1, drift, demand);
                self.at(now + time, Event::Start(replica));
            }
        }
    }
}
