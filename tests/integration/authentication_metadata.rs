use cognito_lookup::proto::GetUserRequest;
use http::{HeaderValue, header::HeaderName};
use tonic::{Code, Request, metadata::MetadataValue};

use crate::{
    support::forged_tokens::RejectionTest,
    support::frames::{self, DATA, END_HEADERS, END_STREAM, FrameConnection, GOAWAY, HEADERS},
    support::{ADA, App, about, assert_failure, failure, with_token},
};

const MALFORMED: &str = "TOKEN_MALFORMED";
const MISSING: &str = "TOKEN_MISSING";

#[tokio::test]
async fn a_token_is_accepted_in_one_form_of_metadata_only() {
    // No rule accepts callers by their network.
    let test =
        RejectionTest::with_app(App::start_with_config(|config| config.callers.truncate(1)).await).await;
    let (app, good) = (&test.app, test.good.clone());
    let lookups = app.cognito_lookups();
    let folded = format!("Bearer {good}, Bearer {good}");
    let bad = "Bearer a.b.c".to_owned();
    let table = [
        ("A1 no token", vec![], MISSING),
        ("A2 empty", vec![String::new()], MISSING),
        ("A2 a scheme", vec!["Bearer".into()], MISSING),
        ("A2 a scheme and a space", vec!["Bearer ".into()], MISSING),
        ("A4 Basic", vec!["Basic YWRhOmFkYQ==".into()], MISSING),
        ("A4 DPoP", vec![format!("DPoP {good}")], MISSING),
        ("A4 Token", vec![format!("Token {good}")], MISSING),
        ("A4 JWT", vec![format!("JWT {good}")], MISSING),
        ("A5 two spaces", vec![format!("Bearer  {good}")], MALFORMED),
        ("A5 a tab", vec![format!("Bearer\t{good}")], MALFORMED),
        ("A6 no separator", vec![format!("Bearer{good}")], MALFORMED),
        ("A6 no scheme", vec![good.clone()], MALFORMED),
        ("A7 good and good", vec![format!("Bearer {good}"); 2], MALFORMED),
        ("A7 good and bad", vec![format!("Bearer {good}"), bad.clone()], MALFORMED),
        ("A7 bad and good", vec![bad, format!("Bearer {good}")], MALFORMED),
        ("A8 joined", vec![folded], MALFORMED),
        ("A8 half joined", vec![format!("Bearer {good},{good}")], MALFORMED),
    ];
    for (case, entries, reason) in table {
        let mut request = Request::new(GetUserRequest::default());
        for entry in entries {
            request.metadata_mut().append("authorization", MetadataValue::try_from(entry).unwrap());
        }
        let failure = failure(&app.get_user(request).await.expect_err(case));
        assert_eq!(failure, (Code::Unauthenticated, reason.to_owned()), "{case}");
        assert!(app.get_by_token(&good).await.is_ok());
    }
    for (case, scheme) in [("A3", "bearer"), ("A3", "BEARER"), ("A3", "bEaReR")] {
        let mut request = Request::new(GetUserRequest::default());
        request.metadata_mut().insert("authorization", format!("{scheme} {good}").parse().unwrap());
        assert!(app.get_user(request).await.is_ok(), "{case} {scheme}");
    }
    assert_eq!(app.cognito_lookups(), lookups);
}

#[tokio::test]
async fn other_headers_carry_neither_a_token_nor_an_identity() {
    let app = App::start_with_config(|config| config.callers.truncate(1)).await;
    let good = app.token("ada");
    for (case, name) in [
        ("A9", "x-forwarded-authorization"),
        ("A9", "grpcgateway-authorization"),
        ("A9", "proxy-authorization"),
        ("A9", "x-amzn-oidc-accesstoken"),
        ("A9", "cookie"),
        ("A17", "x-forwarded-client-cert"),
        ("A17", "x-amzn-oidc-identity"),
        ("A17", "x-amzn-oidc-data"),
        ("A17", "x-user-sub"),
    ] {
        let mut request = Request::new(about(ADA));
        let name = HeaderName::try_from(name).unwrap();
        let value = HeaderValue::try_from(format!("Bearer {good}")).unwrap();
        request.metadata_mut().as_mut().insert(name.clone(), value);
        let failure = failure(&app.get_user(request).await.expect_err(case));
        assert_eq!(failure, (Code::Unauthenticated, MISSING.to_owned()), "{case} {name}");
    }
    assert_eq!(app.cognito_lookups(), 0);
}

#[tokio::test]
async fn bytes_outside_ascii_are_refused() {
    let app = App::start().await;
    let good = app.token("ada");
    for byte in 0x80..=0xff {
        let mut value = format!("Bearer {good}").into_bytes();
        let middle = value.len() / 2;
        value[middle] = byte;
        let mut request = Request::new(GetUserRequest::default());
        request.metadata_mut().insert("authorization", MetadataValue::try_from(value).unwrap());
        assert_failure(app.get_user(request).await, Code::Unauthenticated, MALFORMED);
    }
    assert_eq!(app.cognito_lookups(), 0, "A10");
}

#[tokio::test]
async fn a_token_over_the_limit_fails_its_call_and_keeps_the_connection() {
    let app = App::start().await;
    let good = app.token("ada");
    for bytes in [32 * 1024 + 1, 48 * 1024] {
        let long = format!("{good}{}", "A".repeat(bytes - good.len()));
        assert_failure(app.get_by_token(&long).await, Code::Unauthenticated, MALFORMED);
        let message = GetUserRequest { access_token: long, ..GetUserRequest::default() };
        assert_failure(app.get_user(Request::new(message)).await, Code::Unauthenticated, MALFORMED);
    }
    for bytes in [64 * 1024, 1 << 20] {
        let long = format!("{good}{}", "A".repeat(bytes));
        // Over the header list size: the transport refuses it, with a status of its choice.
        assert!(app.get_user(with_token(&long, GetUserRequest::default())).await.is_err());
        let message = GetUserRequest { access_token: long, ..GetUserRequest::default() };
        assert_failure(app.get_user(Request::new(message)).await, Code::ResourceExhausted, "OVERLOADED");
        assert!(app.get_by_token(&good).await.is_ok(), "A13");
    }
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn an_invalid_header_reaches_no_handler() {
    let app = App::start_with_config(|config| config.callers.truncate(1)).await;
    let good = format!("Bearer {}", app.token("ada"));
    for (case, name, value, is_accepted) in [
        ("the control", "authorization", good.clone(), true),
        ("A11 a line end", "authorization", format!("{good}\r\nx-user-sub: bob"), false),
        ("A11 a line feed", "authorization", format!("{good}\n"), false),
        ("A11 a zero", "authorization", format!("{good}\0"), false),
        ("A12 upper case", "Authorization", good.clone(), false),
    ] {
        let block = [frames::get_user(), frames::literal(name, &value)].concat();
        let message = frames::frame(DATA, END_STREAM, 1, &frames::message(&GetUserRequest::default()));
        let call = [frames::frame(HEADERS, END_HEADERS, 1, &block), message].concat();
        let mut connection = FrameConnection::open(app.address, &[]).await;
        connection.send(&call).await;
        let first = loop {
            let frame = connection.next().await.unwrap();
            if frame.stream == 1 || frame.kind == GOAWAY {
                break frame.kind;
            }
        };
        assert_eq!(first == HEADERS, is_accepted, "{case}: {first}");
    }
    assert_eq!(app.cognito_lookups(), 1);
}
