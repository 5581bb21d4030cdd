//! Whether Cognito must be asked about a token. Pure.

use std::time::{Duration, SystemTime};

use crate::{auth::OnlineChecking, clock::TimePoint, config::OnlineCheck, users::cognito::TokenCheck};

/// The last check of a sign-in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked {
    pub(super) began: TimePoint,
    pub(super) found: TokenCheck,
}

/// Returns whether Cognito must be asked about a token, of whose user some tokens are suspected that were
/// issued until then.
pub(super) fn is_due(
    checking: &OnlineChecking,
    checked: Option<Checked>,
    suspected: Option<SystemTime>,
    now: TimePoint,
) -> bool {
    let is_always = checking.which == OnlineCheck::Always;
    let Some(checked) = checked else { return is_always || suspected.is_some() };
    if checked.found == TokenCheck::Revoked {
        return false;
    }
    let (began, is_conclusive) = (checked.began, checked.found == TokenCheck::Valid);
    let age = now.boot - began.boot;
    if age < RETRY_AFTER {
        return false;
    }
    let is_suspect = suspected.is_some_and(|until| began.system <= until || !is_conclusive);
    is_suspect || (is_always && (age >= checking.every || !is_conclusive))
}

// So that an outage costs each sign-in a call in this time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Revocations, clock::BootTime, config::RevocationSettings, telemetry::metrics::Metrics,
    };

    /// Times are in seconds before now.
    #[test]
    fn a_check_is_due_as_the_setting_says() {
        use OnlineCheck::{Always, Suspect};
        use TokenCheck::{Failed, Revoked, Valid};
        // What is checked, the last check and what it found, and the last suspicion.
        type Case = (OnlineCheck, Option<(u64, TokenCheck)>, Option<u64>, bool);
        let table: [Case; 18] = [
            (Suspect, None, None, false),
            (Suspect, None, Some(50), true),
            (Suspect, Some((60, Valid)), Some(50), true),
            (Suspect, Some((50, Valid)), Some(50), true),
            (Suspect, Some((40, Valid)), Some(50), false),
            (Suspect, Some((40, Failed)), Some(50), true),
            (Suspect, Some((0, Failed)), Some(50), false),
            (Suspect, Some((0, Valid)), Some(0), false),
            (Suspect, Some((90_000, Failed)), None, false),
            (Always, None, None, true),
            (Always, Some((59, Valid)), None, false),
            (Always, Some((60, Valid)), None, true),
            (Always, Some((2, Failed)), None, true),
            (Always, Some((0, Failed)), None, false),
            (Always, Some((30, Valid)), Some(20), true),
            (Always, Some((30, Valid)), Some(40), false),
            (Suspect, Some((60, Revoked)), Some(50), false),
            (Always, Some((90_000, Revoked)), None, false),
        ];
        let now =
            TimePoint { system: SystemTime::now(), boot: BootTime::now() + Duration::from_secs(100_000) };
        let ago = |seconds| Duration::from_secs(seconds);
        for case @ (which, last, suspected, expected) in table {
            let settings = RevocationSettings { online: which, ..RevocationSettings::default() };
            let revocations = Revocations::new(&settings, &Metrics::new().tokens);
            let last = last.map(|(seconds, found)| {
                let began = TimePoint { system: now.system - ago(seconds), boot: now.boot - ago(seconds) };
                Checked { began, found }
            });
            let suspected = suspected.map(|seconds| now.system - ago(seconds));
            assert_eq!(is_due(revocations.online(), last, suspected, now), expected, "{case:?}");
        }
    }
}
