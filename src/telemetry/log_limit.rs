//! Bounds the log, whatever peers and Cognito do: of the lines for one reason and caller, the first
//! few of each second are written, and then one line that counts the rest.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    event,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Filter};

/// A filter of log lines; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct LogLimit(Arc<Shared>);

/// Writes the last counts when it is dropped.
#[derive(Debug)]
pub(super) struct LastCounts(LogLimit);

#[derive(Debug, Default)]
struct Shared {
    windows: Mutex<HashMap<Kind, Window>>,
    /// Writes the counts, a second after the first line that was left out.
    thread: OnceLock<Thread>,
}

/// What lines that are alike have in common.
#[derive(Debug, Eq, Hash, PartialEq)]
struct Kind {
    callsite: Identifier,
    target: &'static str,
    reason: Option<String>,
    caller: Option<String>,
}

/// The lines of one kind in one second.
#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u64,
    level: Level,
}

impl LogLimit {
    /// Starts the thread that writes the counts. Without it nothing is left out.
    pub(super) fn start(&self) -> LastCounts {
        let limit = self.clone();
        let write = move || {
            loop {
                thread::park();
                thread::sleep(INTERVAL);
                limit.write_counts();
            }
        };
        if let Ok(thread) = thread::Builder::new().name("log".to_owned()).spawn(write) {
            self.0.thread.get_or_init(|| thread.thread().clone());
        }
        LastCounts(self.clone())
    }

    /// Counts a line, and returns whether it is written.
    fn admits(&self, event: &Event<'_>) -> bool {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let is_limited = level <= Level::INFO && target != module_path!();
        let Some(thread) = self.0.thread.get().filter(|_| is_limited) else { return true };
        let mut kind = Kind { callsite: event.metadata().callsite(), target, reason: None, caller: None };
        event.record(&mut kind);
        let (now, mut windows) = (Instant::now(), self.windows());
        if windows.len() >= MAX_WINDOWS {
            windows.retain(|kind, window| !window.is_over(kind, now));
        }
        if windows.len() >= MAX_WINDOWS {
            (kind.reason, kind.caller) = (None, None);
        }
        let max_lines = kind.max_lines();
        if windows.get(&kind).is_some_and(|window| window.is_over(&kind, now)) {
            windows.remove(&kind);
        }
        let window = windows.entry(kind).or_insert(Window { began: now, lines: 0, level });
        window.lines += 1;
        if window.lines == max_lines + 1 {
            thread.unpark();
        }
        window.lines <= max_lines
    }

    fn write_counts(&self) {
        let ended =
            self.windows().extract_if(|kind, window| window.lines > kind.max_lines()).collect::<Vec<_>>();
        for (kind, window) in ended {
            let left_out = window.lines - kind.max_lines();
            let Kind { target, reason, caller, .. } = kind;
            macro_rules! write {
                ($level:expr) => {
                    event!($level, left_out, of = target, reason, caller, "lines left out of the log")
                };
            }
            match window.level {
                Level::ERROR => write!(Level::ERROR),
                Level::WARN => write!(Level::WARN),
                _ => write!(Level::INFO),
            }
        }
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Kind, Window>> {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Filter<S> for LogLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.admits(event)
    }
}

impl Drop for LastCounts {
    fn drop(&mut self) {
        self.0.write_counts();
    }
}

impl Kind {
    /// Returns how many lines of this kind are written in a second. Ours without a reason are rare
    /// by themselves, but the start has one for each pool or caller.
    fn max_lines(&self) -> u64 {
        let is_ours = self.target.starts_with(env!("CARGO_CRATE_NAME"));
        if is_ours && self.reason.is_none() { 50 } else { 5 }
    }
}

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "caller" => self.caller = Some(value.to_owned()),
            "reason" => self.reason = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Window {
    /// Returns whether the next line begins another. Lines that were left out are counted first.
    fn is_over(&self, kind: &Kind, now: Instant) -> bool {
        self.lines <= kind.max_lines() && now - self.began >= INTERVAL
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
// More than the reasons of a hundred failing callers.
const MAX_WINDOWS: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::{debug, info, warn};
    use tracing_subscriber::{
        Layer as _,
        filter::{FilterExt as _, Targets},
        fmt,
        layer::SubscriberExt as _,
        registry,
    };

    use super::*;

    #[test]
    fn a_few_lines_of_each_reason_and_caller_are_written_and_the_rest_is_counted() {
        let log = logged(|| {
            for (caller, lines) in [(None, 1000), (Some("web"), 7), (Some("app"), 5)] {
                (0..lines).for_each(|n| warn!(n, reason = "BUDGET", caller, "call failed"));
            }
            (0..9).for_each(|n| info!(n, reason = "TOKEN", "call failed"));
            (0..60).for_each(|n| info!(n, "one of each pool"));
            (0..60).for_each(|n| debug!(n, "asked for"));
        });
        let count = |level: &str, texts: &[&str]| {
            let lines = log.lines().filter(|line| line.contains(level));
            lines.filter(|line| texts.iter().all(|text| line.contains(text))).count()
        };
        assert_eq!(count("WARN", &["call failed n=", "BUDGET"]), 15, "{log}");
        assert_eq!(count("INFO", &["call failed n=", "TOKEN"]), 5, "{log}");
        assert_eq!((count("INFO", &["one of each pool n="]), count("DEBUG", &["asked for"])), (50, 60));
        let left_out = |n: usize| format!("lines left out of the log left_out={n} ");
        assert_eq!(count("WARN", &[&left_out(995), "reason=\"BUDGET\""]), 1, "{log}");
        assert_eq!(count("WARN", &[&left_out(2), "BUDGET", "caller=\"web\""]), 1, "{log}");
        assert_eq!(count("INFO", &[&left_out(4), "reason=\"TOKEN\""]), 1, "{log}");
        assert_eq!(count("INFO", &[&left_out(10)]), 1, "{log}");
        assert_eq!(count("", &["left_out"]), 4, "{log}");
    }

    #[test]
    fn the_memory_is_bounded() {
        let limit = LogLimit::default();
        logged_by(&limit, || {
            (0..3 * MAX_WINDOWS).for_each(|n| warn!(reason = format!("made up {n}"), "call failed"));
            assert_eq!(limit.windows().len(), MAX_WINDOWS + 1);
        });
    }

    fn logged(log: impl FnOnce()) -> String {
        logged_by(&LogLimit::default(), log)
    }

    fn logged_by(limit: &LogLimit, log: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(file.reopen().unwrap());
        // Only these lines: other tests want no spans.
        let ours = Targets::new().with_target("cognito_lookup::telemetry::log_limit", Level::TRACE);
        let layer = fmt::layer().with_ansi(false).with_writer(writer);
        let layer = layer.with_filter(ours.and(limit.clone()));
        tracing::subscriber::with_default(registry().with(layer), || {
            let last = limit.start();
            log();
            drop(last);
        });
        io::read_to_string(file).unwrap()
    }
}
