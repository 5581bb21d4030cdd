//! When a token is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Claims, part::Typed};
use crate::auth::{InvalidReason, Rejected, revocations::LEEWAY};

/// The times of a token (`exp`, `iat`, `nbf`), since 1970, and the leeway for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::auth) struct Validity {
    expires_at: Duration,
    issued_at: Option<Duration>,
    not_before: Option<Duration>,
}

impl Validity {
    pub(super) fn of(claims: &Claims) -> Result<Self, Rejected> {
        let expires_at = numeric_date(&claims.exp)?.ok_or(Rejected::Invalid(InvalidReason::Lifetime))?;
        let (issued_at, not_before) = (numeric_date(&claims.iat)?, numeric_date(&claims.nbf)?);
        Ok(Self { expires_at, issued_at, not_before })
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(in crate::auth) fn for_test(not_before: Option<Duration>, expires_at: Duration) -> Self {
        Self { expires_at, issued_at: None, not_before }
    }

    /// Checks the times (RFC 7519, sections 4.1.4 to 4.1.6). A lifetime of more than a day is
    /// refused: Cognito issues none (developer guide, "Understanding the access token").
    pub(in crate::auth) fn check(&self, now: SystemTime) -> Result<(), Rejected> {
        let now = since_1970(now);
        let begun = self.issued_at.map_or(now, |issued_at| issued_at.min(now));
        let latest = now.saturating_add(LEEWAY);
        if now >= self.end() {
            Err(Rejected::Expired)
        } else if [self.not_before, self.issued_at].iter().flatten().any(|begin| *begin > latest) {
            Err(Rejected::NotYetValid)
        } else if self.expires_at > begun.saturating_add(MAX_LIFETIME).saturating_add(LEEWAY) {
            Err(Rejected::Invalid(InvalidReason::Lifetime))
        } else {
            Ok(())
        }
    }

    /// Checks that a revocation outlives a user's token: `exp` is at most `lifetime` after `iat`,
    /// which is required. Without it the token may have been issued at any time.
    pub(in crate::auth) fn check_lifetime(&self, lifetime: Duration) -> Result<(), Rejected> {
        let latest = self.issued_at.map(|issued| issued.saturating_add(lifetime).saturating_add(LEEWAY));
        match latest {
            Some(latest) if self.expires_at <= latest => Ok(()),
            _ => Err(Rejected::Invalid(InvalidReason::Lifetime)),
        }
    }

    /// Returns when the token was issued, since 1970.
    pub(in crate::auth) fn issued_at(&self) -> Option<Duration> {
        self.issued_at
    }

    /// Returns when the token expires, since 1970, without the leeway.
    pub(in crate::auth) fn expires_at(&self) -> Duration {
        self.expires_at
    }

    /// Returns how long the token is valid from `now` on; zero once it has expired.
    pub(in crate::auth) fn time_left(&self, now: SystemTime) -> Duration {
        self.end().saturating_sub(since_1970(now))
    }

    fn end(&self) -> Duration {
        self.expires_at.saturating_add(LEEWAY)
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Reads a `NumericDate`, which may have a fraction (RFC 7519, section 2). One before 1970 counts as
/// 1970, and one beyond the range as its end.
fn numeric_date(claim: &Option<Typed<f64>>) -> Result<Option<Duration>, Rejected> {
    match claim {
        None => Ok(None),
        Some(Typed::Expected(seconds)) => {
            Ok(Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)))
        }
        Some(Typed::Other(_)) => Err(Rejected::Malformed),
    }
}

const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
