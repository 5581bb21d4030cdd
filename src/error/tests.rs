use std::collections::BTreeSet;

use super::*;
use crate::{auth::InvalidReason, shared_cache::CallError};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_error_has_its_code_and_reason() {
    use Code::{
        DeadlineExceeded, Internal, InvalidArgument, NotFound, OutOfRange, PermissionDenied,
        ResourceExhausted, Unauthenticated, Unavailable, Unimplemented,
    };
    let table: &[(Error, Code, &str)] = &[
        (Rejected::Missing.into(), Unauthenticated, "TOKEN_MISSING"),
        (Rejected::Malformed.into(), Unauthenticated, "TOKEN_MALFORMED"),
        (Rejected::Invalid(InvalidReason::Issuer).into(), Unauthenticated, "TOKEN_INVALID"),
        (Rejected::IdToken.into(), Unauthenticated, "ID_TOKEN_REFUSED"),
        (Rejected::WrongType.into(), Unauthenticated, "TOKEN_WRONG_TYPE"),
        (Rejected::Revoked.into(), Unauthenticated, "TOKEN_REVOKED"),
        (Rejected::Expired.into(), Unauthenticated, "TOKEN_EXPIRED"),
        (Rejected::NotYetValid.into(), Unauthenticated, "TOKEN_NOT_YET_VALID"),
        (Rejected::KeysUnavailable.into(), Unavailable, "KEYS_UNAVAILABLE"),
        (Denied::CredentialMissing.into(), Unauthenticated, "TOKEN_MISSING"),
        (Denied::CallerNotAllowed.into(), PermissionDenied, "CALLER_NOT_ALLOWED"),
        (Denied::ScopeMissing.into(), PermissionDenied, "SCOPE_MISSING"),
        (Denied::SubjectNotAllowed.into(), PermissionDenied, "SUBJECT_NOT_ALLOWED"),
        (
            Denied::AttributesNotAllowed(vec!["email".into()]).into(),
            PermissionDenied,
            "ATTRIBUTE_NOT_ALLOWED",
        ),
        (Denied::UserDisabled.into(), PermissionDenied, "USER_DISABLED"),
        (Denied::SubjectAmbiguous.into(), InvalidArgument, "SUBJECT_AMBIGUOUS"),
        (Denied::SubjectMissing.into(), InvalidArgument, "SUB_MALFORMED"),
        (Denied::PoolMissing.into(), InvalidArgument, "FIELD_INVALID"),
        (Denied::PoolUnknown.into(), InvalidArgument, "FIELD_INVALID"),
        (InvalidQuery::Sub("subs[17]".into()).into(), InvalidArgument, "SUB_MALFORMED"),
        (InvalidQuery::field("max_age", "x").into(), InvalidArgument, "FIELD_INVALID"),
        (Failure::NoSuchUser.into(), NotFound, "USER_NOT_FOUND"),
        (Failure::Throttled.into(), Unavailable, "UPSTREAM_THROTTLED"),
        (Failure::BudgetExhausted(Duration::from_millis(70)).into(), ResourceExhausted, "BUDGET_EXHAUSTED"),
        (Failure::Overloaded.into(), ResourceExhausted, "OVERLOADED"),
        (Failure::CircuitOpen(Duration::from_millis(70)).into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::Unavailable.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::AccessDenied.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::Unreadable.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::WrongUser.into(), Internal, "INTERNAL"),
        (Failure::Internal.into(), Internal, "INTERNAL"),
        (Error::SharedCache(CallError::Timeout), Unavailable, "SHARED_CACHE_UNAVAILABLE"),
        (Error::RevocationsFull, ResourceExhausted, "REVOCATIONS_FULL"),
        (
            Denied::AnswersExhausted(Duration::from_millis(70)).into(),
            ResourceExhausted,
            "CALLER_RATE_LIMITED",
        ),
        (OpenError::NotReady.into(), Unavailable, "SHARED_CACHE_UNAVAILABLE"),
        (OpenError::TokenInvalid.into(), InvalidArgument, "RESUME_TOKEN_INVALID"),
        (OpenError::TokenExpired.into(), OutOfRange, "RESUME_TOKEN_EXPIRED"),
        (OpenError::TooMany.into(), ResourceExhausted, "WATCH_LIMIT"),
        (OpenError::Draining.into(), Unavailable, "WATCH_ENDED"),
        (StreamEnd::Lost.into(), OutOfRange, "RESUME_TOKEN_EXPIRED"),
        (StreamEnd::Moved.into(), Unavailable, "WATCH_ENDED"),
        (StreamEnd::TooSlow.into(), ResourceExhausted, "WATCH_TOO_SLOW"),
        (Denied::NotWatcher.into(), PermissionDenied, "CALLER_NOT_ALLOWED"),
        (Error::WatchOff, PermissionDenied, "CALLER_NOT_ALLOWED"),
        (Error::DeadlineExceeded, DeadlineExceeded, "DEADLINE"),
        (Error::Unimplemented, Unimplemented, "UNSPECIFIED"),
        (Error::Unreadable, InvalidArgument, "FIELD_INVALID"),
    ];
    for (error, code, reason) in table {
        let status = error.clone().into_status("request-1");
        let info = status.get_details_error_info().unwrap();
        let is_final = *error == Failure::Unreadable.into();
        let retried = [Unavailable, ResourceExhausted].contains(code) && !is_final;
        assert_eq!((status.code(), info.reason.as_str()), (*code, *reason), "{error:?}");
        assert_eq!(info.domain, "userlookup.v1");
        let message = error.clone().into_proto("request-1");
        assert_eq!((message.code, message.message.as_str()), (i32::from(*code), status.message()));
        assert_eq!(
            message.details.len(),
            2 + usize::from(retried) + usize::from(error.violation().is_some())
        );
        assert_eq!(status.get_details_request_info().unwrap().request_id, "request-1");
        assert_eq!(status.get_details_retry_info().is_some(), retried, "{error:?}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(pushback.is_some(), retried || is_final, "{error:?}");
        assert_eq!(pushback.is_some_and(|pushback| pushback == "-1"), is_final, "{error:?}");
        assert_eq!(status.get_details_bad_request().is_some(), error.violation().is_some(), "{error:?}");
    }
    let tested = table.iter().map(|(_, _, reason)| *reason);
    let published = (0..).map_while(|number| ErrorReason::try_from(number).ok());
    let published = published.map(ErrorReason::name);
    assert_eq!(tested.collect::<BTreeSet<_>>(), published.collect::<BTreeSet<_>>());
}

#[test]
fn every_published_reason_is_on_the_troubleshooting_page_under_its_code() {
    let page = include_str!("../../docs/troubleshooting.md");
    for reason in (1..).map_while(|number| ErrorReason::try_from(number).ok()) {
        let name = reason.name();
        let code = format!("{:?}", reason.code());
        let snake = |c: char| c.is_uppercase().then_some('_').into_iter().chain(c.to_uppercase());
        let code: String = code.chars().flat_map(snake).collect();
        let entry = format!("### {name}\n**{}.**", code.trim_start_matches('_'));
        assert!(page.contains(&entry), "{entry}");
    }
}

#[test]
fn refused_attributes_are_named() {
    let status = Error::from(Denied::AttributesNotAllowed(vec!["custom:plan".into(), "email".into()]))
        .into_status("r");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata, HashMap::from([("attributes".to_owned(), "custom:plan,email".to_owned())]));
}

#[test]
fn a_long_list_of_refused_attributes_is_cut_at_a_name() {
    let names: Vec<_> = (0..100).map(|n| format!("{n:0>64}")).collect();
    let status = Error::from(Denied::AttributesNotAllowed(names.clone())).into_status("r");
    let listed = status.get_details_error_info().unwrap().metadata["attributes"].clone();
    assert!(listed.len() < 1024 && listed.split(',').all(|name| names.iter().any(|known| known == name)));
}

#[test]
fn an_invalid_field_is_named_by_its_path() {
    let status =
        Error::from(InvalidQuery::field("attributes[3]", "is not an attribute name")).into_status("r");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "attributes[3]");
    assert_eq!(violations[0].description, "is not an attribute name");
}

#[test]
fn an_invalid_item_of_a_batch_is_named_by_its_index() {
    let status = Error::from(InvalidQuery::Sub("subs[17]".into())).into_status("r");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "subs[17]");
}

#[test]
fn a_retry_delay_is_sent_where_it_helps_and_is_spread() {
    for (failure, from) in
        [(Failure::BudgetExhausted(Duration::from_millis(70)), 70), (Failure::Throttled, 1000)]
    {
        let mut waits = BTreeSet::new();
        for _ in 0..100 {
            let status = Error::from(failure).into_status("r");
            let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap().as_millis();
            let pushback =
                status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().to_owned();
            assert_eq!(pushback, wait.to_string());
            assert!((from..=2 * from).contains(&wait), "{failure:?}: {wait} ms");
            waits.insert(wait);
        }
        assert!(waits.len() > 20, "{waits:?}");
    }
}

#[test]
fn what_is_too_large_is_not_retried_and_what_has_no_room_is() {
    for (error, is_retried) in [(Error::TooLarge, false), (Error::MemoryExhausted, true)] {
        let status = error.into_status("r");
        let reason = status.get_details_error_info().unwrap().reason;
        assert_eq!((status.code(), &*reason), (Code::ResourceExhausted, "OVERLOADED"));
        assert_eq!(status.get_details_retry_info().is_some(), is_retried);
        assert_eq!(status.metadata().contains_key("grpc-retry-pushback-ms"), is_retried);
    }
}

#[test]
fn a_client_without_time_for_a_retry_is_told_not_to_retry() {
    // The delay is 1 to 2 s, and a retry needs 600 ms.
    for (left, is_useful) in [(0, false), (1599, false), (2601, true)] {
        let status = Error::from(Failure::Unavailable).into_status_for("r", Duration::from_millis(left));
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap();
        assert_eq!(pushback != "-1", is_useful, "{left} ms: {pushback}");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    }
}
