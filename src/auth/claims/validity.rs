//! From when to when a token is good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Claims, part::Value};
use crate::auth::{Fault, Rejected};

/// When a token was issued, begins and ends, since 1970; the only one that knows the leeway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::auth) struct Validity {
    expires: Duration,
    issued: Option<Duration>,
    begins: Option<Duration>,
}

impl Validity {
    pub(super) fn of(claims: &Claims) -> Result<Self, Rejected> {
        let expires = seconds(&claims.exp)?.ok_or(Rejected::Invalid(Fault::Lifetime))?;
        Ok(Self { expires, issued: seconds(&claims.iat)?, begins: seconds(&claims.nbf)? })
    }

    #[cfg(test)]
    pub(in crate::auth) fn for_test(begins: Option<Duration>, expires: Duration) -> Self {
        Self { expires, issued: None, begins }
    }

    /// Checks every rule of time (RFC 7519, sections 4.1.4 to 4.1.6). Cognito's longest access token lives a day, so one
    /// that claims more is not Cognito's (developer guide, "Understanding the access token").
    pub(in crate::auth) fn check(&self, now: SystemTime) -> Result<(), Rejected> {
        let now = since_1970(now);
        let begun = self.issued.map_or(now, |issued| issued.min(now));
        let latest = now.saturating_add(LEEWAY);
        if now >= self.ends() {
            Err(Rejected::Expired)
        } else if [self.begins, self.issued].iter().flatten().any(|begin| *begin > latest) {
            Err(Rejected::NotYetValid)
        } else if self.expires > begun.saturating_add(MAX_LIFETIME).saturating_add(LEEWAY) {
            Err(Rejected::Invalid(Fault::Lifetime))
        } else {
            Ok(())
        }
    }

    /// Returns true if and only if the token has ended, and is never good again by a clock that only goes on.
    pub(in crate::auth) fn has_ended(&self, now: SystemTime) -> bool {
        since_1970(now) >= self.ends()
    }

    fn ends(&self) -> Duration {
        self.expires.saturating_add(LEEWAY)
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(claim: &Option<Value<u64>>) -> Result<Option<Duration>, Rejected> {
    match claim {
        None => Ok(None),
        Some(Value::Is(seconds)) => Ok(Some(Duration::from_secs(*seconds))),
        Some(Value::IsNot(_)) => Err(Rejected::Malformed),
    }
}

const LEEWAY: Duration = Duration::from_secs(10);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
