//! Learns the epoch and reads the clock, and begins an epoch where one must begin.

use super::{
    super::{
        args::{Parts, flag},
        call::{Call, CallError, Reply},
        scripts::SYNC,
        server_time::ServerTime,
    },
    ClockBounds, RateLimitKeys,
};

/// Learns the epoch, and what the replicas know of each category.
#[derive(Clone, Copy, Debug)]
pub struct Sync<'a> {
    /// What the replica knows of the clock.
    pub clock: ClockBounds<'a>,
    /// Whether it has seen in this epoch that the clock was set back. This ends the epoch.
    pub was_set_back: bool,
    /// The names of all categories.
    pub categories: &'a [&'a str],
}

/// What [`Sync`] returned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Synced {
    /// The server's time.
    pub now: ServerTime,
    /// The epoch.
    pub epoch: String,
    /// Whether calls are granted in it.
    pub is_open: bool,
    /// The state of each category, in the order of the names.
    pub categories: Vec<CategoryState>,
}

/// What the replicas know of a category.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CategoryState {
    /// The quota that Cognito reported to one of them, in calls a second.
    pub quota: Option<usize>,
    /// The last time that Cognito throttled.
    pub cut: Option<Cut>,
}

/// A cut of the rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// When it was, by the server's clock.
    pub at: ServerTime,
    /// The factor after it, in millionths.
    pub factor: u32,
}

impl Sync<'_> {
    /// Returns the call. [`Synced::parse`] reads its reply.
    pub fn call(&self, keys: &RateLimitKeys) -> Call {
        let mut args = self.clock.args().to_vec();
        args.push(flag(self.was_set_back));
        args.extend(self.categories.iter().map(|category| category.as_bytes().to_vec()));
        let categories = self.categories.iter().flat_map(|category| keys.category(category));
        Call { script: &SYNC, keys: [keys.state()].into_iter().chain(categories).collect(), args }
    }
}

impl Synced {
    /// Reads the reply to a [`Sync`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        let (now, epoch, is_open) = (parts.time()?, parts.text()?, parts.number()? == 1);
        let mut categories = Vec::new();
        while !parts.is_empty() {
            let quota = parts.optional_text()?.map(|quota| number(&quota)).transpose()?;
            let cut = parts.optional_text()?.map(|cut| Cut::parse(&cut)).transpose()?;
            categories.push(CategoryState { quota, cut });
        }
        Ok(Self { now, epoch, is_open, categories })
    }
}

impl Cut {
    fn parse(text: &str) -> Result<Self, CallError> {
        let (at, factor) = text.split_once(':').ok_or(CallError::Script)?;
        Ok(Self { at: ServerTime::from_micros(number(at)?), factor: number(factor)? })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, CallError> {
    text.parse().map_err(|_| CallError::Script)
}
