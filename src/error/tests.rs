use std::collections::BTreeSet;

use super::*;

#[test]
fn every_error_has_its_code_and_reason() {
    use Code::{
        DeadlineExceeded, Internal, InvalidArgument, NotFound, PermissionDenied, Unauthenticated,
        Unavailable, Unimplemented,
    };
    let table: &[(Error, Code, &str)] = &[
        (Rejected::Missing.into(), Unauthenticated, "TOKEN_MISSING"),
        (Rejected::Malformed.into(), Unauthenticated, "TOKEN_MALFORMED"),
        (Rejected::Invalid.into(), Unauthenticated, "TOKEN_INVALID"),
        (Rejected::IdToken.into(), Unauthenticated, "ID_TOKEN_REFUSED"),
        (Rejected::WrongType.into(), Unauthenticated, "TOKEN_WRONG_TYPE"),
        (Rejected::Expired.into(), Unauthenticated, "TOKEN_EXPIRED"),
        (Rejected::NotYetValid.into(), Unauthenticated, "TOKEN_NOT_YET_VALID"),
        (Rejected::KeysUnavailable.into(), Unavailable, "KEYS_UNAVAILABLE"),
        (Denied::Anonymous.into(), Unauthenticated, "TOKEN_MISSING"),
        (Denied::Caller.into(), PermissionDenied, "CALLER_NOT_ALLOWED"),
        (Denied::Subject.into(), PermissionDenied, "SUBJECT_NOT_ALLOWED"),
        (Denied::Attributes(vec!["email".into()]).into(), PermissionDenied, "ATTRIBUTE_NOT_ALLOWED"),
        (Denied::Disabled.into(), PermissionDenied, "USER_DISABLED"),
        (Denied::Ambiguous.into(), InvalidArgument, "SUBJECT_AMBIGUOUS"),
        (Denied::Nobody.into(), InvalidArgument, "SUB_MALFORMED"),
        (Denied::PoolMissing.into(), InvalidArgument, "FIELD_INVALID"),
        (Denied::PoolUnknown.into(), InvalidArgument, "FIELD_INVALID"),
        (Invalid::Sub.into(), InvalidArgument, "SUB_MALFORMED"),
        (Invalid::field("max_age", "x").into(), InvalidArgument, "FIELD_INVALID"),
        (Failure::NoSuchUser.into(), NotFound, "USER_NOT_FOUND"),
        (Failure::Throttled.into(), Unavailable, "UPSTREAM_THROTTLED"),
        (Failure::Unavailable.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::Refused.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::Garbled.into(), Unavailable, "UPSTREAM_UNAVAILABLE"),
        (Failure::Mismatch.into(), Internal, "INTERNAL"),
        (Failure::Lost.into(), Internal, "INTERNAL"),
        (Error::OutOfTime, DeadlineExceeded, "DEADLINE"),
        (Error::Unimplemented, Unimplemented, "UNSPECIFIED"),
    ];
    for (error, code, reason) in table {
        let status = error.clone().into_status("request-1");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((status.code(), info.reason.as_str()), (*code, *reason), "{error:?}");
        assert_eq!(info.domain, "userlookup.v1");
        assert_eq!(status.get_details_request_info().unwrap().request_id, "request-1");
        assert_eq!(status.get_details_retry_info().is_some(), *code == Unavailable, "{error:?}");
        assert_eq!(
            status.metadata().contains_key("grpc-retry-pushback-ms"),
            *code == Unavailable,
            "{error:?}"
        );
        assert_eq!(status.get_details_bad_request().is_some(), error.violation().is_some(), "{error:?}");
    }
    let reasons: BTreeSet<_> = table.iter().map(|(_, _, reason)| reason).collect();
    let later = ["SCOPE_MISSING", "BUDGET_EXHAUSTED", "OVERLOADED"];
    assert_eq!(
        reasons.len() + later.len(),
        24,
        "each published reason is answered or belongs to what is not built"
    );
}

#[test]
fn refused_attributes_are_named() {
    let status = Error::from(Denied::Attributes(vec!["custom:plan".into(), "email".into()])).into_status("r");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata, HashMap::from([("attributes".to_owned(), "custom:plan,email".to_owned())]));
}

#[test]
fn a_bad_field_is_named_with_its_path() {
    let status = Error::from(Invalid::field("attributes[3]", "is no attribute name")).into_status("r");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "attributes[3]");
    assert_eq!(violations[0].description, "is no attribute name");
}
