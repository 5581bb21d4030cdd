use std::net::{Ipv4Addr, SocketAddr};

use cognito_lookup::{
    config::{Config, PoolSettings},
    proto::{GetUserRequest, GetUserResponse},
};
use cognito_standin::{Keys, Pool, Role, SigningKey, StandIn};
use tonic::{Code, Request};

use crate::{
    support::process::Process,
    support::{ADA, App, about, assert_failure, max_age, with_token},
};

/// Both pools have the same people with the same subs, but for what is known of them.
#[tokio::test]
async fn the_same_sub_in_two_pools_is_two_users() {
    let (app, other) = two_pools().await;
    for turn in 0..2 {
        for (pool, expected) in [(app.cognito.pool_id(), "Ada Lovelace"), (OTHER, "Another Ada")] {
            let message = GetUserRequest { user_pool_id: pool.into(), ..about(ADA) };
            let answer = app.get_user(Request::new(message)).await.unwrap();
            assert_eq!((name(&answer), pool_of(&answer)), (expected, pool), "turn {turn}");
        }
        for (token, expected) in
            [(app.token("ada"), "Ada Lovelace"), (other.access_token("ada").unwrap(), "Another Ada")]
        {
            assert_eq!(name(&app.get_by_token(&token).await.unwrap()), expected, "turn {turn}");
        }
    }
    assert_eq!((app.cognito_lookups(), other.calls("AdminGetUser")), (1, 1), "one fetch each");
    assert_failure(app.get_by_sub(ADA).await, Code::InvalidArgument, "FIELD_INVALID");
    // Gone from one pool, there in the other.
    app.cognito.stop().unwrap();
    let demand = GetUserRequest { freshness: max_age(0), ..about(ADA) };
    let here = GetUserRequest { user_pool_id: app.cognito.pool_id().into(), ..demand.clone() };
    assert_failure(app.get_user(Request::new(here)).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    let there = GetUserRequest { user_pool_id: OTHER.into(), ..demand };
    assert_eq!(name(&app.get_user(Request::new(there)).await.unwrap()), "Another Ada");
}

#[tokio::test]
async fn a_pool_vouches_for_its_own_users_only() {
    let (app, other) = two_pools().await;
    let (own, foreign) = (app.cognito.access_claims("ada").unwrap(), other.access_claims("ada").unwrap());
    let (key, other_key) = (app.cognito.header(SigningKey::Access), other.header(SigningKey::Access));
    let foreign_client = {
        let mut claims = own.clone();
        claims["client_id"] = OTHER_WEB.into();
        claims
    };
    // A key that is not known may be new, and nobody is to be logged out over that.
    let (unknown, refused) =
        ((Code::Unavailable, "KEYS_UNAVAILABLE"), (Code::Unauthenticated, "TOKEN_INVALID"));
    for (case, token, (code, reason)) in [
        (
            "one pool's claims under the other's key",
            other.sign(SigningKey::Access, &other_key, &own),
            unknown,
        ),
        ("and with its own key's name", other.sign(SigningKey::Access, &key, &own), refused),
        (
            "the other's claims under this one's key",
            app.cognito.sign(SigningKey::Access, &key, &foreign),
            unknown,
        ),
        ("and with its own key's name", app.cognito.sign(SigningKey::Access, &other_key, &foreign), refused),
        (
            "an app client of the other pool",
            app.cognito.sign(SigningKey::Access, &key, &foreign_client),
            refused,
        ),
    ] {
        let answer = app.get_by_token(&token).await;
        assert!(answer.is_err(), "{case}");
        assert_failure(answer, code, reason);
    }
    let both =
        GetUserRequest { access_token: other.access_token("ada").unwrap(), ..GetUserRequest::default() };
    let answer = app.get_user(with_token(&app.token("ada"), both)).await;
    assert_failure(answer, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    let elsewhere = GetUserRequest { user_pool_id: OTHER.into(), ..GetUserRequest::default() };
    let answer = app.get_user(with_token(&app.token("ada"), elsewhere)).await;
    assert_failure(answer, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    assert_eq!((app.cognito_lookups(), other.calls("AdminGetUser")), (0, 0), "what is refused costs nothing");
    assert!(app.get_by_token(&app.token("ada")).await.is_ok());
}

/// The stand-in lets the role's session call, and gives that only to who tells the external id.
#[test]
fn a_pool_is_asked_as_its_role() {
    let serve = |external_id: Option<&str>, environment: &[(&str, &str)]| {
        let role = Role { arn: ROLE.into(), external_id: external_id.map(Into::into) };
        let cognito = StandIn::start(Pool { role: Some(role), ..Pool::sandbox() }).unwrap();
        let endpoint = cognito.endpoint_url();
        let environment = [environment, &[("AWS_ENDPOINT_URL_STS", &endpoint)]].concat();
        let process = Process::listen_with_shell("exec \"$0\" \"$@\"", &cognito, SETTINGS, &environment);
        (cognito, process)
    };
    let arn = ("COGNITO_LOOKUP_POOLS__0__ROLE_ARN", ROLE);
    let id = |id| ("COGNITO_LOOKUP_POOLS__0__EXTERNAL_ID", id);
    let sub = ["get", "--sub", ADA];
    for (case, expected, environment) in [
        ("a role", None, vec![arn]),
        ("a role with an external id", Some("lookup-1"), vec![arn, id("lookup-1")]),
    ] {
        let (cognito, process) = serve(expected, &environment);
        process.wait_for_log("serving");
        assert!(process.client(&sub).unwrap().contains("Ada Lovelace"), "{case}");
        let asked = cognito.last_input("AssumeRole").unwrap();
        assert_eq!(asked["RoleSessionName"], "cognito-lookup", "CloudTrail tells by it who called");
    }
    let (cognito, process) = serve(None, &[]);
    process.wait_for_log("serving");
    assert!(process.client(&sub).unwrap_err().contains("UPSTREAM_UNAVAILABLE"), "without the role");
    assert_eq!(cognito.calls("AssumeRole"), 0);
    let (cognito, process) = serve(Some("lookup-1"), &[arn, id("lookup-2")]);
    process.wait_for_log("no AWS credentials yet");
    assert_eq!(cognito.last_input("AssumeRole").unwrap()["ExternalId"], "lookup-2");
    assert_eq!(cognito.calls("AdminGetUser"), 0, "no other credentials are used instead");
}

/// A server of two pools, each before a stand-in with keys of its own.
async fn two_pools() -> (App, StandIn) {
    two_pools_with(|_| {}).await
}

/// The same with changed settings.
pub(crate) async fn two_pools_with(change: impl FnOnce(&mut Config)) -> (App, StandIn) {
    let pool = Pool { id: OTHER.into(), web_clients: vec![OTHER_WEB.into()], ..Pool::sandbox() };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let other = StandIn::start_with_keys(pool, address, Keys::generate().unwrap()).unwrap();
    other.update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Another Ada".into()))).unwrap();
    let app = App::start_with_config(|config| {
        second(config, &other);
        change(config);
    })
    .await;
    (app, other)
}

fn second(config: &mut Config, other: &StandIn) {
    config.pools.push(PoolSettings {
        id: OTHER.into(),
        app_clients: vec![OTHER_WEB.into()],
        issuer: Some(other.issuer().into()),
        jwks_url: Some(other.jwks_url()),
        endpoint_url: Some(other.endpoint_url()),
        ..config.pools[0].clone()
    });
    let mut web = config.callers[0].clone();
    (web.name, web.app_client) = ("other-web".into(), Some(OTHER_WEB.into()));
    config.callers.push(web);
}

fn name(answer: &GetUserResponse) -> &str {
    &answer.user.as_ref().unwrap().attributes["name"]
}

fn pool_of(answer: &GetUserResponse) -> &str {
    &answer.user.as_ref().unwrap().user_pool_id
}

const SETTINGS: &str = "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"";
const ROLE: &str = "arn:aws:iam::210987654321:role/user-lookup";
pub(crate) const OTHER: &str = "us-east-1_Sandbox02";
const OTHER_WEB: &str = "sandboxwebclient0000000002";
