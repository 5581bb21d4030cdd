//! Failures of Cognito as a whole, each made of the faults of several operations.

use std::{fmt, str::FromStr, time::Duration};

use thiserror::Error;

use super::{faults::Fault, http_response::HttpResponse};

/// How Cognito fails for a service that reads users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scenario {
    /// It refuses reads, because its quota is exceeded.
    Throttle,
    /// It resets every connection, also for the signing keys.
    Outage,
    /// It answers reads after 0.7 s.
    Slow,
    /// It accepts reads and never answers them.
    Hang,
    /// It answers reads with status 500.
    Error,
    /// It refuses the credentials of reads.
    Denied,
    /// It answers requests for the signing keys with status 503. Keys that were fetched stay valid.
    NoKeys,
}

impl Scenario {
    /// All scenarios with their names.
    pub const ALL: [(&'static str, Self); 7] = [
        ("throttle", Self::Throttle),
        ("outage", Self::Outage),
        ("slow", Self::Slow),
        ("hang", Self::Hang),
        ("error", Self::Error),
        ("denied", Self::Denied),
        ("no-keys", Self::NoKeys),
    ];

    /// Returns the fault of an operation that is a read of users, and that of the signing keys.
    pub(super) fn faults(self) -> (Option<Fault>, Option<Fault>) {
        match self {
            Self::Throttle => (Some(Fault::Throttle), None),
            Self::Outage => (Some(Fault::Reset), Some(Fault::Reset)),
            Self::Slow => (Some(Fault::Delay(SLOW)), None),
            Self::Hang => (Some(Fault::Hang), None),
            Self::Error => (Some(Fault::ServerError), None),
            Self::Denied => (Some(Fault::AccessDenied), None),
            Self::NoKeys => {
                (None, Some(Fault::Respond(HttpResponse::new(503, "text/plain", "no keys: sandbox fault"))))
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, scenario)| scenario == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, scenario)| *scenario).ok_or(UnknownScenario)
    }
}

/// The name is not one of [`Scenario::ALL`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("expected {}", Scenario::ALL.map(|(name, _)| name).join(", "))]
pub struct UnknownScenario;

// Less than the second after which the service gives a call up.
const SLOW: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_read_by_its_name() {
        for (name, scenario) in Scenario::ALL {
            assert_eq!((name.parse(), scenario.to_string().as_str()), (Ok(scenario), name));
        }
        let error = "flood".parse::<Scenario>().expect_err("unknown").to_string();
        assert_eq!(error, "expected throttle, outage, slow, hang, error, denied, no-keys");
    }
}
