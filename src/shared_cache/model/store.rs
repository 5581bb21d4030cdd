//! The server of the model, and what may happen to it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::Instant};

use super::{
    Call, CallError, Event, Reply, ServerTime, StreamPosition, ValueKind,
    link::ModelLink,
    oracle::{Item, Oracle},
};
use crate::clock::system_time;

/// A store that all links share; cheap to clone. Its clock is the system clock of the tests plus a skew.
#[derive(Clone, Debug)]
pub(crate) struct ModelStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Says that anything changed, to those who wait for the store or for an event.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    oracle: Oracle,
    /// What the changed keys had before each change of the last seconds.
    undo: VecDeque<(Instant, Before)>,
    skew_micros: i64,
    last_micros: u64,
    run: u64,
    is_frozen: bool,
    is_full: bool,
    calls: HashMap<&'static str, usize>,
}

/// What keys had.
type Before = Vec<(String, Option<Item>)>;

impl ModelStore {
    /// Makes an empty store.
    pub(crate) fn new() -> Self {
        let state = State {
            oracle: Oracle::default(),
            undo: VecDeque::new(),
            skew_micros: 0,
            last_micros: 0,
            run: 1,
            is_frozen: false,
            is_full: false,
            calls: HashMap::new(),
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    /// Connects a replica.
    pub(crate) fn link(&self) -> ModelLink {
        ModelLink::new(self.clone())
    }

    /// Returns the server's time. It moves on with each call.
    pub(crate) fn now(&self) -> ServerTime {
        ServerTime::from_micros(self.state().micros())
    }

    /// Sets how far the server's clock is ahead of the paused one, in microseconds.
    pub(crate) fn set_skew(&self, micros: i64) {
        let mut state = self.state();
        (state.skew_micros, state.last_micros) = (micros, 0);
    }

    /// Stops the server, which keeps its connections and what comes in by them.
    pub(crate) fn freeze(&self) {
        self.state().is_frozen = true;
    }

    /// Lets a frozen server go on, with what came in meanwhile.
    pub(crate) fn thaw(&self) {
        self.change(|state| state.is_frozen = false);
    }

    /// Whether the memory is full, so that the server refuses what would write.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Makes another server the primary, one that has not got what was written in the last `lost`
    /// (at most 5 s). All connections end, and calls under way fail.
    pub(crate) fn failover(&self, lost: Duration) {
        let since = Instant::now().checked_sub(lost);
        self.change(|state| {
            while let Some((_, items)) =
                state.undo.pop_back_if(|(at, _)| since.is_none_or(|since| *at > since))
            {
                items.into_iter().for_each(|(key, item)| state.oracle.set(key, item));
            }
            state.undo.clear();
            state.run += 1;
        });
    }

    /// Restarts the server without its data.
    pub(crate) fn restart_empty(&self) {
        self.flush();
        self.failover(Duration::ZERO);
    }

    /// Removes all data.
    pub(crate) fn flush(&self) {
        self.change(|state| {
            state.oracle = Oracle::default();
            state.undo.clear();
        });
    }

    /// Keeps only the last `count` events.
    pub(crate) fn trim(&self, count: usize) {
        self.change(|state| state.oracle.trim(count));
    }

    /// Returns the keys of all users.
    pub(crate) fn users(&self) -> Vec<String> {
        self.state().oracle.users()
    }

    /// Returns the value that a user's hash has, and when its fetch began.
    pub(crate) fn value(&self, key: &str, kind: ValueKind) -> Option<(Vec<u8>, ServerTime)> {
        let user = self.state().oracle.user(key)?;
        let kind = match kind {
            ValueKind::Profile => user.profile,
            ValueKind::Groups => user.groups,
        };
        kind.value.map(|(sealed, since)| (sealed, ServerTime::from_micros(since)))
    }

    /// Returns when a user was last invalidated, or [`ServerTime::ZERO`].
    pub(crate) fn invalidated(&self, key: &str) -> ServerTime {
        let user = self.state().oracle.user(key).unwrap_or_default();
        ServerTime::from_micros(user.invalidated.unwrap_or(0))
    }

    /// Returns how often a script ran, by its name.
    pub(crate) fn calls(&self, script: &str) -> usize {
        self.state().calls.get(script).copied().unwrap_or(0)
    }

    /// Returns the run of the server, which a failover changes.
    pub(super) fn run(&self) -> u64 {
        self.state().run
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state().is_frozen
    }

    /// Says that something changed, also on a link.
    pub(super) fn wake(&self) {
        self.0.changed.send_replace(());
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Runs a script at once.
    pub(super) fn call(&self, call: &Call) -> Result<Reply, CallError> {
        self.change(|state| {
            *state.calls.entry(call.script.name).or_default() += 1;
            state.run_script(call)
        })
    }

    pub(super) fn events(&self, key: &str, after: &StreamPosition) -> Vec<Event> {
        let mut state = self.state();
        let now = state.micros();
        state.oracle.events(now, key, after)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.wake();
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

impl State {
    /// The server's time. It moves on with each call, as calls take time.
    fn micros(&mut self) -> u64 {
        let since_1970 = system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now =
            u64::try_from(since_1970.as_micros()).unwrap().checked_add_signed(self.skew_micros).unwrap();
        self.last_micros = now.max(self.last_micros + 1);
        self.last_micros
    }

    fn run_script(&mut self, call: &Call) -> Result<Reply, CallError> {
        let (now, run, writes) = (self.micros(), format!("{:040x}", self.run), self.oracle.writes());
        let items: Vec<_> = call.keys.iter().map(|key| (key.clone(), self.oracle.item(key))).collect();
        let reply = self.oracle.run(now, &run, call)?;
        let has_written = self.oracle.writes() > writes;
        if has_written && self.is_full {
            items.into_iter().for_each(|(key, item)| self.oracle.set(key, item));
            return Err(CallError::Failed);
        }
        if has_written {
            self.undo.push_back((Instant::now(), items));
        }
        while self.undo.pop_front_if(|(at, _)| at.elapsed() > UNDO).is_some() {}
        Ok(reply)
    }
}

/// How far back the writes are known.
const UNDO: Duration = Duration::from_secs(5);
