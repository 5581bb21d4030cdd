//! The rules that keep a change from being missed in silence. Production keeps all of them; the model
//! switches each off once, to see that it notices.

/// A rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    /// A token is before every change that is pending.
    TokenBeforePending,
    /// A checkpoint of a stream that continues is about what it has read of the log.
    CheckpointCatchesUp,
    /// A token is valid in its run of the store only.
    RunIsCompared,
    /// A token is valid only between its event and the next one, by their ids.
    IdIsCompared,
    /// A token is valid only where the log reaches back to.
    BaseIsCompared,
    /// A loss ends all open streams.
    LossEndsStreams,
    /// A later change of a user is merged into its pending one.
    ChangesMerge,
    /// A stream that has no room for a change ends.
    SlownessEnds,
    /// A change of unknown users ends the streams that it may concern.
    UnnamedEndStreams,
}

/// Returns whether a rule holds.
#[cfg(not(test))]
pub(super) fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
pub(super) use self::off::{holds, without};

#[cfg(test)]
mod off {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Returns whether a rule is not switched off in this thread.
    pub(in crate::changes) fn holds(rule: Rule) -> bool {
        OFF.get() != Some(rule)
    }

    /// Runs something without a rule.
    pub(in crate::changes) fn without<T>(rule: Rule, run: impl FnOnce() -> T) -> T {
        OFF.set(Some(rule));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        OFF.set(None);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
