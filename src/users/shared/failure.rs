//! The failures of a fetch that the replicas waiting for it share.

use super::super::{Failure, entry::LookupMethod, single_flight::FetchError};

/// Returns the text under which the failure is shared, and none for a failure of this replica alone.
pub(super) fn to_text(error: FetchError) -> Option<String> {
    let method = match error.method? {
        LookupMethod::BySub => BY_SUB,
        LookupMethod::ByUsername => BY_USERNAME,
    };
    let (name, _) = FAILURES.iter().find(|(_, failure)| *failure == error.failure)?;
    Some(format!("{name}{method}"))
}

/// Reads what [`to_text`] made, also of another version. What it does not know is unavailability.
pub(super) fn from_text(text: &str) -> FetchError {
    let method = if text.ends_with(BY_USERNAME) { LookupMethod::ByUsername } else { LookupMethod::BySub };
    let name = text.strip_suffix(BY_SUB).or_else(|| text.strip_suffix(BY_USERNAME)).unwrap_or(text);
    let failure = FAILURES.iter().find(|(known, _)| *known == name);
    FetchError {
        failure: failure.map_or(Failure::Unavailable, |(_, failure)| *failure),
        method: Some(method),
    }
}

/// All of them are about Cognito. That there is no such user is an entry, which is sealed; the store
/// cannot say so.
const FAILURES: [(&str, Failure); 4] = [
    ("denied", Failure::AccessDenied),
    ("throttled", Failure::Throttled),
    ("unavailable", Failure::Unavailable),
    ("unreadable", Failure::Unreadable),
];
const BY_SUB: &str = "/sub";
const BY_USERNAME: &str = "/username";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_same_on_the_other_replica() {
        for (_, failure) in FAILURES {
            for method in [LookupMethod::BySub, LookupMethod::ByUsername] {
                let error = FetchError { failure, method: Some(method) };
                assert_eq!(from_text(&to_text(error).unwrap()), error);
            }
        }
    }

    #[test]
    fn a_refusal_of_one_replica_and_a_statement_about_the_user_are_not_shared() {
        let alone = [
            (Failure::BudgetExhausted(std::time::Duration::ZERO), Some(LookupMethod::BySub)),
            (Failure::Overloaded, Some(LookupMethod::BySub)),
            (Failure::NoSuchUser, Some(LookupMethod::ByUsername)),
            (Failure::WrongUser, Some(LookupMethod::BySub)),
            (Failure::Unavailable, None),
        ];
        for (failure, method) in alone {
            assert_eq!(to_text(FetchError { failure, method }), None, "{failure:?}");
        }
    }

    #[test]
    fn a_failure_of_a_later_version_is_unavailability() {
        let unavailable = FetchError { failure: Failure::Unavailable, method: Some(LookupMethod::BySub) };
        assert_eq!([from_text("novel/sub"), from_text("")], [unavailable; 2]);
    }
}
