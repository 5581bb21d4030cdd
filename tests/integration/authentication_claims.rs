use cognito_lookup::config::{CallerSettings, Config, Reads};
use cognito_standin::{Keys, Pool, SigningKey, StandIn, User};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    support::forged_tokens::{Case, RejectionTest, TokenForger},
    support::{ADA, App, BOB, about, assert_failure, with_token},
};

const EXPIRED: &str = "TOKEN_EXPIRED";
const INVALID: &str = "TOKEN_INVALID";
const MALFORMED: &str = "TOKEN_MALFORMED";
const NOT_YET_VALID: &str = "TOKEN_NOT_YET_VALID";
const WRONG_TYPE: &str = "TOKEN_WRONG_TYPE";

#[tokio::test]
async fn the_issuer_must_equal_the_pools_byte_for_byte() {
    let test = RejectionTest::start().await;
    let issuer = test.app.cognito.issuer().to_owned();
    let aws = "https://cognito-idp.eu-west-1.amazonaws.com";
    let mut cases = with_claim(
        &test,
        "iss",
        [
            ("A95 another pool", json!(format!("{aws}/eu-west-1_Other0001")), INVALID),
            (
                "A95 another Region",
                json!("https://cognito-idp.us-east-1.amazonaws.com/eu-west-1_Sandbox01"),
                INVALID,
            ),
            ("A96 a trailing slash", json!(format!("{issuer}/")), INVALID),
            ("A96 upper case", json!(issuer.to_uppercase()), INVALID),
            ("A96 longer", json!(format!("{issuer}.evil")), INVALID),
            ("A96 shorter", json!(issuer[..issuer.len() - 1]), INVALID),
            ("A96 another scheme", json!(issuer.replace("http:", "https:")), INVALID),
            ("A96 another path", json!(format!("{issuer}/x")), INVALID),
            ("A96 a user", json!(issuer.replace("http://", "http://user@")), INVALID),
            ("A96 a look-alike", json!(issuer.replace('a', "\u{430}")), INVALID),
            ("A97 an array", json!([issuer]), INVALID),
            ("A97 an object", json!({"iss": issuer}), INVALID),
            ("A97 a number", json!(1), INVALID),
            ("A97 null", json!(null), INVALID),
        ],
    );
    cases.push(("A97 absent", without_claim(&test, "iss"), INVALID));
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn keys_of_another_pool_are_not_fetched() {
    let test = RejectionTest::start().await;
    let pool = Pool { id: "eu-west-1_Sandbox02".into(), ..Pool::sandbox() };
    let other =
        StandIn::start_with_keys(pool, "127.0.0.1:0".parse().unwrap(), Keys::generate().unwrap()).unwrap();
    let forger = TokenForger::with_key(&other, SigningKey::Access);
    let ada_claims = test.app.cognito.access_claims("ada").unwrap();
    let header = test.app.cognito.header(SigningKey::Access);
    let cases = vec![
        ("A95 another pool's", other.access_token("ada").unwrap(), INVALID),
        (
            "A60 another pool's key by this key's name",
            forger.token(header.to_string(), ada_claims.to_string()),
            INVALID,
        ),
    ];
    test.assert_rejected(cases).await;
    assert_eq!(other.calls("jwks"), 0);
}

#[tokio::test]
async fn only_access_tokens_of_the_configured_app_clients_are_accepted() {
    let test = RejectionTest::start().await;
    let client = test.app.cognito.access_claims("ada").unwrap()["client_id"].as_str().unwrap().to_owned();
    // An ID token has its own reason.
    let mut cases: Vec<Case<'_>> =
        vec![("A98 an ID token", test.app.cognito.id_token("ada").unwrap(), "ID_TOKEN_REFUSED")];
    for (case, value, reason) in [
        ("A98 id", json!("id"), "ID_TOKEN_REFUSED"),
        ("A100 upper case", json!("Access"), WRONG_TYPE),
        ("A100 a space", json!("access "), WRONG_TYPE),
        ("A100 an array", json!(["access"]), WRONG_TYPE),
        ("A100 refresh", json!("refresh"), WRONG_TYPE),
        ("A100 null", json!(null), WRONG_TYPE),
    ] {
        cases.extend(with_claim(&test, "token_use", [(case, value, reason)]));
    }
    cases.push(("A100 absent", without_claim(&test, "token_use"), WRONG_TYPE));
    cases.extend(with_claim(
        &test,
        "client_id",
        [
            ("A102 another", json!("anotherclient"), INVALID),
            ("A102 an array", json!([client]), INVALID),
            ("A102 shorter", json!(client[..client.len() - 1]), INVALID),
            ("A102 longer", json!(format!("{client}0")), INVALID),
            ("A102 another case", json!(client.to_uppercase()), INVALID),
            ("A102 empty", json!(""), INVALID),
            ("A102 null", json!(null), INVALID),
        ],
    ));
    cases.push(("A102 absent", without_claim(&test, "client_id"), INVALID));
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn the_audience_is_ignored() {
    let test = RejectionTest::start().await;
    // Cognito's access tokens have no `aud`, and one that was added does not change the subject.
    let mut accepted = vec![("A103 absent", test.app.token("ada"))];
    for (case, aud) in [
        ("A103 a resource", json!("https://api.example.com")),
        ("A103 several", json!(["a", "b"])),
        ("A103 a number", json!(1)),
    ] {
        accepted.extend(
            with_claim(&test, "aud", [(case, aud, "")]).into_iter().map(|(case, token, _)| (case, token)),
        );
    }
    test.assert_accepted(accepted).await;
}

#[tokio::test]
async fn a_sub_is_opaque_and_bounded() {
    let test = RejectionTest::start().await;
    let mut cases: Vec<Case<'_>> = vec![("A99 absent", without_claim(&test, "sub"), INVALID)];
    for sub in bad_subs() {
        cases.extend(with_claim(&test, "sub", [("A99 an invalid sub", sub, INVALID)]));
    }
    for name in [json!(1), json!(""), json!("a b"), json!("x".repeat(129)), json!(["ada"])] {
        cases.extend(with_claim(&test, "username", [("A108 an invalid username", name, INVALID)]));
    }
    test.assert_rejected(cases).await;

    let app = App::start().await;
    for sub in bad_subs().into_iter().filter_map(|sub| sub.as_str().map(str::to_owned)) {
        assert_failure(app.get_by_sub(&sub).await, Code::InvalidArgument, "SUB_MALFORMED");
    }
    assert_eq!(app.cognito_lookups(), 0);
    // A sub need not be a UUID.
    for sub in ["ADA00000-5A4D-4B0C-8000-00000000000F", "A_B-9", "0"] {
        app.cognito.put_user(User { sub: sub.into(), ..User::local("eve", "Eve-Sandbox-1") });
        assert_eq!(app.get_by_token(&app.token("eve")).await.unwrap().user.unwrap().sub, sub, "A99");
    }
}

fn bad_subs() -> Vec<Value> {
    let texts =
        ["", "a\" or sub ^= \"", "{ada}", "a\0", "\u{202e}a", "１２", "a b", "a*"].map(|sub| json!(sub));
    [texts.to_vec(), vec![json!(1), json!(["ada"]), json!(null), json!("s".repeat(129))]].concat()
}

#[tokio::test]
async fn groups_that_a_trigger_made_odd_do_not_refuse_the_token() {
    let app = App::start_with_config(|config| config.callers[0].groups = true).await;
    let test = RejectionTest::with_app(app).await;
    let mut tokens = Vec::new();
    for odd in [
        json!("staff"),
        json!({"staff": true}),
        json!(["staff", 1]),
        json!(["staff", ""]),
        json!([["staff"]]),
        json!(vec!["g"; 101]),
        json!(["g".repeat(129)]),
        json!(false),
    ] {
        let cases = with_claim(&test, "cognito:groups", [("A108 odd groups", odd, "")]);
        tokens.push(cases[0].1.clone());
        test.assert_accepted(cases.into_iter().map(|(case, token, _)| (case, token)).collect()).await;
    }
    for token in tokens {
        let message = cognito_lookup::proto::GetUserRequest { include_groups: true, ..Default::default() };
        let answer = test.app.get_user(with_token(&token, message)).await.unwrap();
        assert!(
            !answer.user.unwrap().groups.contains(&"staff".to_owned()),
            "no group of the token is believed"
        );
    }
    assert_eq!(
        test.app.cognito.calls("AdminListGroupsForUser"),
        1,
        "Cognito is asked, and its answer cached"
    );
}

#[tokio::test]
async fn a_machine_token_needs_its_scope_and_names_no_subject() {
    let app = App::start_with_config(with_machine_client).await;
    let machine_token = |scope: Value| {
        let mut claims = app.cognito.machine_claims(MACHINE, &[]);
        claims["scope"] = scope;
        app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims)
    };
    assert!(app.get_user(with_token(&machine_token(json!(SCOPE)), about(ADA))).await.is_ok());
    let many = vec!["other/scope"; 1_500].join(" ");
    assert!(
        app.get_user(with_token(&machine_token(json!(format!("{many} {SCOPE}"))), about(ADA))).await.is_ok(),
        "A106"
    );
    let lookups = app.cognito_lookups();
    for (case, scope) in [
        ("A106 absent", json!(null)),
        ("A106 an array", json!([SCOPE])),
        ("A106 another", json!("user-lookup/write")),
        ("A106 longer", json!("user-lookup/read-all")),
        ("A106 shorter", json!("user-lookup/rea")),
        ("A106 another case", json!("User-Lookup/read")),
        ("A106 tabs", json!(format!("openid\t{SCOPE}"))),
        ("A106 another space", json!(format!("openid\u{a0}{SCOPE}"))),
        ("A106 many", json!(many)),
    ] {
        let response = app.get_user(with_token(&machine_token(scope), about(ADA))).await;
        assert_eq!(
            crate::support::failure(&response.unwrap_err()),
            (Code::PermissionDenied, "SCOPE_MISSING".into()),
            "{case}"
        );
    }
    let presented = |token: &str| {
        let message = cognito_lookup::proto::GetUserRequest { access_token: token.into(), ..about("") };
        with_token(&machine_token(json!(SCOPE)), message)
    };
    assert_failure(
        app.get_user(presented(&machine_token(json!(SCOPE)))).await,
        Code::Unauthenticated,
        WRONG_TYPE,
    );
    // A user's token names its own user, so another sub with it is ambiguous.
    let ada = app.token("ada");
    assert_failure(
        app.get_user(with_token(&ada, about(BOB))).await,
        Code::InvalidArgument,
        "SUBJECT_AMBIGUOUS",
    );
    assert_failure(
        app.get_user(with_token(&machine_token(json!(SCOPE)), about(""))).await,
        Code::InvalidArgument,
        "SUB_MALFORMED",
    );
    assert_eq!(app.cognito_lookups(), lookups);
}

#[tokio::test]
async fn a_valid_token_of_a_disabled_or_deleted_user_is_refused() {
    let app = App::start().await;
    assert_failure(app.get_by_token(&app.token("bob")).await, Code::PermissionDenied, "USER_DISABLED");
    app.cognito.put_user(User::local("eve", "Eve-Sandbox-1"));
    let eve = app.token("eve");
    app.cognito.delete_user("eve").unwrap();
    assert_failure(app.get_by_token(&eve).await, Code::NotFound, "USER_NOT_FOUND");
}

#[tokio::test]
async fn tokens_outside_their_validity_are_rejected() {
    let test = RejectionTest::start().await;
    let now = test.app.cognito.access_claims("ada").unwrap()["iat"].as_u64().unwrap();
    let day = 24 * 60 * 60;
    let mut cases: Vec<Case<'_>> = vec![("A109 absent", without_claim(&test, "exp"), INVALID)];
    cases.extend(with_claim(
        &test,
        "exp",
        [
            ("A109 null", json!(null), INVALID),
            ("A110 text", json!("1999999999"), MALFORMED),
            ("A110 true", json!(true), MALFORMED),
            ("A110 an array", json!([now + 60]), MALFORMED),
            ("A110 an object", json!({}), MALFORMED),
            ("A111 zero", json!(0), EXPIRED),
            ("A111 one", json!(1), EXPIRED),
            ("A111 negative", json!(-1), EXPIRED),
            ("A111 a fraction", json!(1.5), EXPIRED),
            ("A111 2^53 + 1", json!((1_u64 << 53) + 1), INVALID),
            ("A111 2^63", json!(1_u64 << 63), INVALID),
            ("A111 2^64 - 1", json!(u64::MAX), INVALID),
            ("A112 beyond the leeway", json!(now - 11), EXPIRED),
            ("A113 a second too long", json!(now + day + 11), INVALID),
            ("A113 ten years", json!(now + 3650 * day), INVALID),
        ],
    ));
    cases.extend(with_claim(
        &test,
        "iat",
        [
            ("A113 issued too long before", json!(now + 3600 - day - 11), INVALID),
            ("A115 ahead", json!(now + 600), NOT_YET_VALID),
            ("A115 text", json!("1"), MALFORMED),
            ("A115 negative", json!(-1), INVALID),
            ("A115 null", json!(null), INVALID),
        ],
    ));
    // A revocation must outlive the token, so its age must be known.
    cases.push(("A115 absent", without_claim(&test, "iat"), INVALID));
    cases.extend(with_claim(
        &test,
        "nbf",
        [
            ("A114 ahead", json!(now + 600), NOT_YET_VALID),
            ("A114 far ahead", json!(u64::MAX), NOT_YET_VALID),
            ("A114 text", json!("1"), MALFORMED),
            ("A114 a fraction ahead", json!(now as f64 + 600.5), NOT_YET_VALID),
        ],
    ));
    // The reason TOKEN_EXPIRED requires a valid signature.
    let claims = with_claim(&test, "exp", [("", json!(now - 60), "")]).remove(0).1;
    let (signed, _) = claims.rsplit_once('.').unwrap();
    let signature = test.good.rsplit('.').next().unwrap();
    cases.push(("A112 expired, with another signature", format!("{signed}.{signature}"), INVALID));
    for (number, reason) in [
        ("1e10", INVALID),
        ("1e308", INVALID),
        ("18446744073709551616", INVALID),
        ("99999999999999999999999", INVALID),
        ("1E9", EXPIRED),
        ("-0", EXPIRED),
        ("1e999", MALFORMED),
        ("NaN", MALFORMED),
        ("Infinity", MALFORMED),
        ("01", MALFORMED),
    ] {
        cases.push(("A111 a literal", with_literal(&test, "exp", number), reason));
    }
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn tokens_at_the_edges_of_their_validity_are_accepted() {
    let test = RejectionTest::start().await;
    let now = test.app.cognito.access_claims("ada").unwrap()["iat"].as_u64().unwrap();
    let day = 24 * 60 * 60;
    let mut accepted = Vec::new();
    for (name, case, value) in [
        ("exp", "A112 just expired", json!(now - 1)),
        ("exp", "A113 a day", json!(now + day)),
        ("nbf", "A114 null", json!(null)),
        ("nbf", "A114 within the leeway", json!(now + 9)),
        ("nbf", "A114 a fraction", json!(1.5)),
        ("nbf", "A114 before 1970", json!(-1)),
        ("exp", "A111 a fraction", json!(now as f64 + 3600.25)),
        ("iat", "A115 a fraction", json!(now as f64 - 0.75)),
        ("iat", "A115 within the leeway", json!(now + 9)),
    ] {
        accepted.extend(
            with_claim(&test, name, [(case, value, "")]).into_iter().map(|(case, token, _)| (case, token)),
        );
    }
    test.assert_accepted(accepted).await;
}

#[tokio::test]
async fn a_field_of_any_json_type_causes_no_internal_error() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let (header, claims) =
        (test.app.cognito.header(SigningKey::Access), test.app.cognito.access_claims("ada").unwrap());
    let signature = test.good.rsplit('.').next().unwrap();
    let values = [json!(null), json!(true), json!(false), json!(0), json!("jwt_tool"), json!([]), json!({})];
    for (of_header, object) in [(true, &header), (false, &claims)] {
        let checked: &[&str] =
            if of_header { &["alg", "kid"] } else { &["iss", "client_id", "token_use", "exp"] };
        for (name, value) in
            object.as_object().unwrap().keys().flat_map(|name| values.iter().map(move |value| (name, value)))
        {
            let mut edited = object.clone();
            edited[name] = value.clone();
            let (head, body) = if of_header { (&edited, &claims) } else { (&header, &edited) };
            let signed = forger.token(head.to_string(), body.to_string());
            let kept = format!("{}.{signature}", signed.rsplit_once('.').unwrap().0);
            for (token, may_be_good) in [(signed, !checked.contains(&name.as_str())), (kept, false)] {
                match test.app.get_by_token(&token).await {
                    Ok(_) => assert!(may_be_good, "A108 {name} {value}"),
                    // A sub or username that Cognito does not know is not found.
                    Err(status) if may_be_good => {
                        assert_ne!(status.code(), Code::Unknown, "A108 {name} {value}")
                    }
                    Err(status) => assert!(
                        [Code::Unauthenticated, Code::Unavailable].contains(&status.code()),
                        "A108 {name} {value}: {status:?}"
                    ),
                }
            }
        }
    }
}

/// Makes tokens with a valid signature and another value of one claim.
fn with_claim<'a, const N: usize>(
    test: &RejectionTest,
    name: &str,
    cases: [(&'a str, Value, &'a str); N],
) -> Vec<Case<'a>> {
    let claims = test.app.cognito.access_claims("ada").unwrap();
    let token = |value| {
        let mut claims = claims.clone();
        claims[name] = value;
        test.app.cognito.sign(SigningKey::Access, &test.app.cognito.header(SigningKey::Access), &claims)
    };
    cases.map(|(case, value, reason)| (case, token(value), reason)).into()
}

fn without_claim(test: &RejectionTest, name: &str) -> String {
    let mut claims = test.app.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    test.app.cognito.sign(SigningKey::Access, &test.app.cognito.header(SigningKey::Access), &claims)
}

/// Makes a token with a valid signature and this literal as the value of one claim.
fn with_literal(test: &RejectionTest, name: &str, value: &str) -> String {
    let mut claims = test.app.cognito.access_claims("ada").unwrap();
    claims[name] = json!("(value)");
    let claims = claims.to_string().replace("\"(value)\"", value);
    test.app.cognito.sign_raw(
        SigningKey::Access,
        &test.app.cognito.header(SigningKey::Access).to_string(),
        &claims,
    )
}

/// Adds a machine client that may read any user if its token has the scope.
fn with_machine_client(config: &mut Config) {
    config.pools[0].app_clients.push(MACHINE.into());
    config.callers.push(CallerSettings {
        name: "desk".into(),
        app_client: Some(MACHINE.into()),
        scope: Some(SCOPE.into()),
        reads: Reads::Any,
        attributes: vec!["name".into()],
        ..CallerSettings::default()
    });
}

const MACHINE: &str = "sandboxmachine000000000001";
const SCOPE: &str = "user-lookup/read";
