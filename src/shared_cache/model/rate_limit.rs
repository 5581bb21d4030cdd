//! What the scripts of the rate limit do, in plain Rust. Names are numbers here, or their hashes, and
//! times are in microseconds. A rule can be switched off, as the negative control of a test. The
//! integration tests include this file too, as `oracle.rs`.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::{Call, CallError, Reply};

/// The rate limit of one account and Region, as one server has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateStore {
    /// The epoch, and the run of the server that it is of.
    epoch: Option<(u64, u64)>,
    epoch_text: String,
    /// A time that has passed for certain; none until the epoch is open.
    open: Option<u64>,
    categories: [Category; 3],
    users: BTreeMap<u64, Log>,
    callers: BTreeMap<u64, Log>,
}

/// What the scripts may assume of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) epoch: u64,
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
    pub(crate) is_watched: bool,
}

/// A request for one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TakeRequest {
    pub(crate) call: u64,
    pub(crate) category: usize,
    pub(crate) limit: u64,
    /// The caller and its place in the line; none for background.
    pub(crate) caller: Option<(u64, u64)>,
    pub(crate) user: u64,
    pub(crate) own_limit: u64,
    pub(crate) waits_for_own: bool,
    pub(crate) others_wait: bool,
}

/// The answer to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TakeReply {
    Epoch,
    Clock,
    Warm,
    User(u64),
    Caller(u64),
    Full { wait: u64, waiting: u64, count: u64 },
    Granted { waiting: u64, count: u64 },
}

/// The answer to a `sync`: the epoch, and whether it is open.
pub(crate) type SyncReply = (u64, bool);

#[derive(Clone, Debug, Default)]
struct Category {
    has_log: bool,
    log: Log,
    quota: u64,
    cut: Option<(u64, u64)>,
    next: u64,
    turn: u64,
    turns_of: BTreeMap<u64, u64>,
    /// The turn of each place, and until when it counts.
    line: BTreeMap<(u64, u64), (u64, u64)>,
}

/// The calls that count, in the order in which they leave.
#[derive(Clone, Debug, Default)]
struct Log(Vec<(u64, u64)>);

/// What a script knows of the time.
struct Judged {
    is_current: bool,
    /// Whether the clock was set back while nobody watched.
    is_back: bool,
    is_in_time: bool,
    /// The time by which logs are judged.
    at: Option<u64>,
}

impl RateStore {
    fn judge(&mut self, now: u64, run: u64, bounds: Bounds) -> Judged {
        let Bounds { epoch, earliest, latest, is_watched } = bounds;
        let is_current = self.epoch == Some((epoch, run));
        let is_back = is_watched && self.open.is_some_and(|open| now < open) && rule(Rule::StepBack);
        let is_in_time = now >= earliest
            && (now <= latest || !rule(Rule::Latest))
            && (is_watched || now >= self.open.unwrap_or(0) || !rule(Rule::Open));
        if is_current && is_in_time && is_watched && !is_back {
            self.open = Some(now - if rule(Rule::Slack) { latest - earliest } else { 0 });
        }
        let at = if rule(Rule::Open) || is_watched { self.open } else { self.open.map(|_| now) };
        Judged { is_current, is_back, is_in_time, at }
    }

    pub(crate) fn sync(
        &mut self,
        now: u64,
        run: u64,
        bounds: Bounds,
        stepped_back: bool,
        new_epoch: u64,
    ) -> SyncReply {
        let judged = self.judge(now, run, bounds);
        let is_watched = judged.is_current && judged.is_in_time && bounds.is_watched;
        let mut begins = self.epoch.is_none_or(|(_, known)| known != run && rule(Rule::Run))
            || (judged.is_current && (judged.is_back || stepped_back && rule(Rule::StepBack)));
        for category in &mut self.categories {
            begins |= !category.has_log && rule(Rule::Sentinel);
            category.has_log = true;
            if is_watched {
                begins |= category.log.remove_from(now + LONGEST_LIFE + 1);
            }
        }
        if begins {
            self.epoch = Some((new_epoch, run));
            self.open = None;
            self.categories.iter_mut().for_each(|category| {
                category.log.remove_from(now + LONGEST_LIFE + 1);
                category.line.clear();
            });
        }
        let (epoch, _) = self.epoch.unwrap();
        if !rule(Rule::Run) {
            self.epoch = Some((epoch, run));
        }
        if !rule(Rule::Warm) {
            self.open.get_or_insert(now);
        }
        (epoch, self.open.is_some())
    }

    #[expect(clippy::too_many_lines, reason = "the steps of one script, in its order")]
    pub(crate) fn take(&mut self, now: u64, run: u64, bounds: Bounds, request: &TakeRequest) -> TakeReply {
        let judged = self.judge(now, run, bounds);
        let category = &mut self.categories[request.category];
        if !judged.is_current || judged.is_back || (!category.has_log && rule(Rule::Sentinel)) {
            return TakeReply::Epoch;
        }
        if !judged.is_in_time {
            return TakeReply::Clock;
        }
        let Some(at) = judged.at else { return TakeReply::Warm };
        let user = self.users.entry(request.user).or_default();
        let caller = request.caller.map(|(caller, _)| caller);
        if bounds.is_watched {
            user.remove_to(at);
        }
        let user_at = user.opens_at(READS_OF_ONE_USER, 0, at, now);
        if user_at > now && rule(Rule::User) {
            return TakeReply::User(user_at - now);
        }
        if let Some(own) = caller.filter(|_| request.waits_for_own) {
            let log = self.callers.entry(own).or_default();
            if bounds.is_watched {
                log.remove_to(at);
            }
            let caller_at = log.opens_at(request.own_limit, 0, at, now);
            if caller_at > now && rule(Rule::Caller) {
                return TakeReply::Caller(caller_at - now);
            }
        }
        if bounds.is_watched {
            category.log.remove_to(at);
        }
        let all = (request.limit * category.factor(now) / MILLION).max(1);
        let step = MILLION / all;
        let rate = if caller.is_some() || !rule(Rule::Background) { all } else { (all / 2).max(1) };
        category.line.retain(|_, (_, until)| *until > now);
        let queued = request.caller.and_then(|place| category.line.get(&place));
        let turn = match (queued, caller) {
            (Some((turn, _)), _) => *turn,
            (None, Some(caller)) => category.turn.max(*category.turns_of.get(&caller).unwrap_or(&0)),
            (None, None) => u64::MAX,
        };
        let before = match rule(Rule::Line) {
            true => category.line.values().filter(|(other, _)| *other < turn).count() as u64,
            false => 0,
        };
        // A time further off is that of another clock.
        let paced = if category.next > now + step { now } else { category.next };
        let paced_at = paced + before * step + if caller.is_some() { 0 } else { BURST / 2 };
        let opens_at = category.log.opens_at(rate, before, at, now).max(paced_at);
        let count = category.log.count(at);
        if opens_at > now {
            if let Some(place) = request.caller
                && category.line.insert(place, (turn, opens_at + GRACE)).is_none()
            {
                category.turns_of.insert(place.0, turn + 1);
            }
            if !bounds.is_watched && now - at > MILLION {
                return TakeReply::Warm;
            }
            return TakeReply::Full { wait: opens_at - now, waiting: category.line.len() as u64, count };
        }
        let leaves_at = now + if rule(Rule::Life) { LONGEST_LIFE } else { 1_010_000 };
        category.log.set(request.call, leaves_at);
        user.set(request.call, leaves_at);
        if let Some(place) = request.caller {
            if request.own_limit > 0 {
                self.callers.entry(place.0).or_default().set(request.call, leaves_at);
            }
            category.line.remove(&place);
            category.turn = category.turn.max(turn);
            let next_turn = category.turns_of.entry(place.0).or_default();
            *next_turn = (turn + 1).max(*next_turn);
        }
        let saved = match request.others_wait || !category.line.is_empty() {
            true => DELAY.max(step).min(BURST),
            false => BURST,
        };
        category.next = paced.max(now.saturating_sub(saved)) + step;
        TakeReply::Granted { waiting: category.line.len() as u64, count: count + 1 }
    }

    /// `counts` is 0 for a call that was not made.
    #[expect(clippy::too_many_arguments, reason = "as the script")]
    pub(crate) fn end(
        &mut self,
        now: u64,
        run: u64,
        bounds: Bounds,
        category: usize,
        call: u64,
        user: u64,
        own: Option<(u64, u64)>,
        counts: u64,
    ) {
        let judged = self.judge(now, run, bounds);
        let is_back = now < bounds.earliest || (!bounds.is_watched && now < self.open.unwrap_or(0));
        if !judged.is_current || is_back {
            return;
        }
        for log in [&mut self.categories[category].log, self.users.entry(user).or_default()] {
            log.end(call, now, counts);
        }
        let Some((caller, limit)) = own else { return };
        let log = self.callers.entry(caller).or_default();
        log.end(call, now, counts);
        let over = log.count(now).saturating_sub(limit);
        if counts > 0 && over > 0 {
            log.set(call, now + counts + WINDOW * over.div_ceil(limit));
        }
    }

    /// Evicts the log of a category.
    pub(crate) fn evict(&mut self, category: usize) {
        (self.categories[category].log, self.categories[category].has_log) = (Log::default(), false);
    }

    pub(crate) fn tune(&mut self, now: u64, category: usize, quota: u64, is_throttled: bool) {
        let category = &mut self.categories[category];
        if quota > 0 {
            category.quota = quota;
        }
        let is_recent = category.cut.is_some_and(|(at, _)| now >= at && now - at < MILLION);
        if is_throttled && !is_recent {
            category.cut = Some((now, category.factor(now) / 2));
        }
    }
}

impl RateStore {
    /// Runs a script at this time of the server, and in this run of it.
    pub(crate) fn run(&mut self, now: u64, run: &str, call: &Call) -> Result<Reply, CallError> {
        let args: Vec<&str> = call.args.iter().map(|arg| std::str::from_utf8(arg).expect("a text")).collect();
        let bounds = || Bounds {
            epoch: hash(args[0]),
            earliest: number(args[1]),
            latest: number(args[2]),
            is_watched: args[3] == "1",
        };
        match call.script.name {
            "sync" => Ok(self.run_sync(now, run, bounds(), &args)),
            "take" => Ok(self.run_take(now, run, bounds(), &args, &call.keys)),
            "end" => {
                let (category, own_limit) = (category(&call.keys[1]), number(args[6]));
                let own = (own_limit > 0).then(|| (hash(&call.keys[3]), own_limit));
                let (id, user) = (hash(args[4]), hash(&call.keys[2]));
                self.end(now, hash(run), bounds(), category, id, user, own, number(args[5]));
                Ok(Reply::Array(vec![int(now)]))
            }
            "tune" => {
                self.tune(now, category(args[0]), number(args[1]), args[2] == "1");
                Ok(Reply::Array(vec![int(now)]))
            }
            _ => Err(CallError::Script),
        }
    }

    fn run_sync(&mut self, now: u64, run: &str, bounds: Bounds, args: &[&str]) -> Reply {
        let new_epoch = format!("{run}:{now}");
        let (epoch, is_open) = self.sync(now, hash(run), bounds, args[4] == "1", hash(&new_epoch));
        if epoch == hash(&new_epoch) {
            self.epoch_text = new_epoch;
        }
        let mut reply = vec![int(now), text(&self.epoch_text), int(is_open.into())];
        for name in &args[5..] {
            let Category { quota, cut, .. } = &self.categories[category(name)];
            let quota = (*quota > 0).then(|| text(&quota.to_string()));
            let cut = cut.map(|(at, factor)| text(&format!("{at}:{factor}")));
            reply.extend([quota, cut].map(|part| part.unwrap_or(Reply::Nil)));
        }
        Reply::Array(reply)
    }

    fn run_take(&mut self, now: u64, run: &str, bounds: Bounds, args: &[&str], keys: &[String]) -> Reply {
        let caller = (!args[7].is_empty()).then(|| (hash(&keys[5]), hash(args[8])));
        let request = TakeRequest {
            call: hash(args[4]),
            category: category(args[5]),
            limit: number(args[6]),
            caller,
            user: hash(&keys[4]),
            own_limit: number(args[9]),
            waits_for_own: args[10] == "1",
            others_wait: args[11] == "1",
        };
        let reply = self.take(now, hash(run), bounds, &request);
        let (name, rest) = match reply {
            TakeReply::Epoch => ("EPOCH", vec![]),
            TakeReply::Clock => ("CLOCK", vec![]),
            TakeReply::Warm => ("WARM", vec![]),
            TakeReply::User(wait) => ("USER", vec![wait]),
            TakeReply::Caller(wait) => ("CALLER", vec![wait]),
            TakeReply::Full { wait, waiting, count } => ("FULL", vec![wait, waiting, count]),
            TakeReply::Granted { waiting, count } => ("GRANTED", vec![waiting, count]),
        };
        let rest = rest.into_iter().map(int);
        Reply::Array([int(now), text(name)].into_iter().chain(rest).collect())
    }
}

fn category(name: &str) -> usize {
    ["UserRead", "UserList", "UserResourceRead"]
        .iter()
        .position(|known| name.ends_with(known))
        .expect("a category")
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn int(number: u64) -> Reply {
    Reply::Int(number.try_into().expect("a number of 63 bits"))
}

fn text(text: &str) -> Reply {
    Reply::Bytes(text.into())
}

impl Category {
    fn factor(&self, now: u64) -> u64 {
        match self.cut {
            Some((at, factor)) if now >= at => MILLION.min(factor + (now - at) / 4),
            _ => MILLION,
        }
    }
}

impl Log {
    fn end(&mut self, call: u64, now: u64, counts: u64) {
        match counts {
            0 => self.0.retain(|(_, other)| *other != call),
            _ => self.set(call, now + counts),
        }
    }

    fn set(&mut self, call: u64, leaves_at: u64) {
        self.0.retain(|(_, other)| *other != call);
        let place = self.0.partition_point(|entry| *entry < (leaves_at, call));
        self.0.insert(place, (leaves_at, call));
    }

    fn remove_to(&mut self, at: u64) {
        let gone = self.gone(at);
        self.0.drain(..gone);
    }

    /// Returns whether there was one.
    fn remove_from(&mut self, at: u64) -> bool {
        let left = self.0.partition_point(|(leaves_at, _)| *leaves_at < at);
        let had = left < self.0.len();
        self.0.truncate(left);
        had
    }

    fn count(&self, at: u64) -> u64 {
        (self.0.len() - self.gone(at)) as u64
    }

    fn opens_at(&self, most: u64, before: u64, at: u64, now: u64) -> u64 {
        let Some(over) = (self.count(at) + before).checked_sub(most) else { return 0 };
        let leaves_at = self.0.get(self.gone(at) + over as usize).map_or(u64::MAX, |(at, _)| *at);
        (leaves_at.min(now + WINDOW) - at).min(WINDOW) + now
    }

    fn gone(&self, at: u64) -> usize {
        self.0.partition_point(|(leaves_at, _)| *leaves_at <= at)
    }
}

const MILLION: u64 = 1_000_000;
const WINDOW: u64 = 1_010_000;
const LONGEST_LIFE: u64 = 4_100_000;
const BURST: u64 = 250_000;
const DELAY: u64 = 20_000;
const GRACE: u64 = 50_000;
const READS_OF_ONE_USER: u64 = 10;

/// A rule that a negative control switches off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rule {
    /// Background calls have half of the rate.
    Background,
    /// A caller has a limit of its own.
    Caller,
    /// A replica without the store has its cut-off allowance only.
    CutOff,
    /// The server's clock must not be ahead of the bounds.
    Latest,
    /// A call that nobody ends counts for 4.1 s instead of a window.
    Life,
    /// Who waits has a turn.
    Line,
    /// A replica that has not watched the clock judges by the last time that another one has.
    Open,
    /// Another run of the server is another epoch.
    Run,
    /// A log that was evicted is missed.
    Sentinel,
    /// Logs are judged by the earliest time that it can be.
    Slack,
    /// A clock that was set back ends the epoch.
    StepBack,
    /// A call without a response counts twice as long.
    Unanswered,
    /// One user is read ten times a second.
    User,
    /// An epoch opens when its clock was watched.
    Warm,
    /// A clock was watched when an old reading agrees.
    Watched,
}

thread_local! {
    pub(crate) static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
}

pub(crate) fn rule(rule: Rule) -> bool {
    OFF.get() != Some(rule)
}
