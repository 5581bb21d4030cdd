//! The calls that Cognito receives, and what is wrong with them.

use super::{
    Flaw, Report,
    world::{END, MS, SECOND, World},
};

/// A call, and when Cognito counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at: u64,
    /// None for background.
    pub(super) caller: Option<usize>,
    pub(super) user: u64,
    /// Whether the store granted it. The others are of cut-off allowances.
    pub(super) is_granted: bool,
}

impl World {
    /// Judges the schedule.
    pub(super) fn report(mut self) -> Report {
        self.arrivals.sort_unstable_by_key(|call| call.at);
        let all = self.most(|_| true);
        let granted = self.most(|call| call.is_granted);
        let allowed = self.limit + self.cut_off * self.replicas.len();
        let is_well = self.last_fault == 0;
        // Before the first epoch opened, replicas used their cut-off allowance.
        let opened = self.arrivals.iter().find(|call| call.is_granted).map_or(END, |call| call.at);
        let is_busy = self.is_busy();
        let used = (is_well && is_busy).then(|| self.used_since(3_500 * MS)).flatten();
        let recovered =
            (!is_well && is_busy).then(|| self.used_since(self.last_fault + 2_800 * MS)).flatten();
        let flaws = [
            (Flaw::Granted, granted > self.limit),
            (Flaw::All, all > allowed),
            (Flaw::Well, is_well && self.most(|call| call.at > opened + 2_200 * MS) > self.limit),
            (Flaw::User, self.most(|call| call.is_granted && call.user == 0) > READS_OF_ONE_USER),
            (Flaw::Caller, {
                let of_caller = self.most(|call| call.is_granted && call.caller == Some(0));
                self.own_limit.is_some_and(|limit| of_caller > limit)
            }),
            (Flaw::Background, {
                let background = self.most(|call| call.is_granted && call.caller.is_none());
                background > (self.limit / 2).max(1)
            }),
            (Flaw::Unfair, is_well && is_busy && self.is_unfair()),
        ];
        Report {
            flaws: flaws.into_iter().filter(|(_, is_so)| *is_so).map(|(flaw, _)| flaw).collect(),
            granted: granted as f64 / self.limit as f64,
            all: all as f64 / allowed as f64,
            used,
            recovered,
            calls: self.arrivals.len(),
            scripts: self.scripts,
        }
    }

    /// Returns the most such calls in any second.
    fn most(&self, wanted: impl Fn(&Arrival) -> bool) -> usize {
        let calls: Vec<_> = self.arrivals.iter().filter(|call| wanted(call)).map(|call| call.at).collect();
        let (mut first, mut most) = (0, 0);
        for (last, at) in calls.iter().enumerate() {
            while calls[first] + SECOND <= *at {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// Returns whether there is always more to call than may be called.
    fn is_busy(&self) -> bool {
        let demand: u64 = self.replicas.iter().map(|replica| replica.demand).sum();
        let is_free = !self.has_hot_user && self.own_limit.is_none() && self.slow_cognito.is_none();
        is_free && demand as usize * 2 > 5 * self.limit
    }

    /// Returns which part of the limit was granted from then on; none if that is too short a time.
    fn used_since(&self, from: u64) -> Option<f64> {
        let calls = self.arrivals.iter().filter(|call| call.is_granted && (from..END).contains(&call.at));
        let seconds = END.saturating_sub(from) as f64 / SECOND as f64;
        (seconds > 1.0).then(|| calls.count() as f64 / seconds / self.limit as f64)
    }

    /// Returns whether the caller at one replica got less than its part.
    fn is_unfair(&self) -> bool {
        let got = self.arrivals.iter().filter(|call| call.is_granted && call.caller == Some(1)).count();
        let half = self.limit as f64 / 2.0 * ((END - 2_600 * MS) as f64 / SECOND as f64);
        (got as f64) < (self.asked_by_second as f64).min(half) * 0.75 - 2.0
    }
}

const READS_OF_ONE_USER: usize = 10;
