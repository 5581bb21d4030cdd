use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use cognito_lookup::{
    config::{Config, PoolSettings},
    proto::{
        GetUserRequest, GetUserResponse,
        health::{
            HealthCheckRequest, HealthCheckResponse, HealthListRequest, health_check_response::ServingStatus,
            health_client::HealthClient,
        },
    },
};
use cognito_standin::{Fault, HttpResponse, Keys, Pool, Role, SigningKey, StandIn};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use crate::{
    support::process::Process,
    support::{ADA, App, about, assert_failure, http_get, max_age, standin, with_token},
};

/// Both pools have users with the same subs and different names.
#[tokio::test]
async fn the_same_sub_in_two_pools_means_two_users() {
    let (app, other) = two_pools().await;
    for round in 0..2 {
        for (pool, expected) in [(app.cognito.pool_id(), "Ada Lovelace"), (OTHER, "Another Ada")] {
            let message = GetUserRequest { user_pool_id: pool.into(), ..about(ADA) };
            let response = app.get_user(Request::new(message)).await.unwrap();
            assert_eq!((name(&response), pool_of(&response)), (expected, pool), "round {round}");
        }
        for (token, expected) in
            [(app.token("ada"), "Ada Lovelace"), (other.access_token("ada").unwrap(), "Another Ada")]
        {
            assert_eq!(name(&app.get_by_token(&token).await.unwrap()), expected, "round {round}");
        }
    }
    assert_eq!((app.cognito_lookups(), other.calls("AdminGetUser")), (1, 1), "one fetch each");
    assert_failure(app.get_by_sub(ADA).await, Code::InvalidArgument, "FIELD_INVALID");
    // One pool has an outage, the other one does not.
    app.cognito.stop().unwrap();
    let demand = GetUserRequest { freshness: max_age(0), ..about(ADA) };
    let in_first = GetUserRequest { user_pool_id: app.cognito.pool_id().into(), ..demand.clone() };
    assert_failure(app.get_user(Request::new(in_first)).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    let in_other = GetUserRequest { user_pool_id: OTHER.into(), ..demand };
    assert_eq!(name(&app.get_user(Request::new(in_other)).await.unwrap()), "Another Ada");
}

#[tokio::test]
async fn a_pools_keys_verify_its_own_tokens_only() {
    let (app, other) = two_pools().await;
    let (ada_claims, other_claims) =
        (app.cognito.access_claims("ada").unwrap(), other.access_claims("ada").unwrap());
    let (key, other_key) = (app.cognito.header(SigningKey::Access), other.header(SigningKey::Access));
    let other_client = {
        let mut claims = ada_claims.clone();
        claims["client_id"] = OTHER_WEB.into();
        claims
    };
    // An unknown key may be a new one, so the caller must not be logged out.
    let (unknown_key, invalid) =
        ((Code::Unavailable, "KEYS_UNAVAILABLE"), (Code::Unauthenticated, "TOKEN_INVALID"));
    for (case, token, (code, reason)) in [
        (
            "claims of one pool under the key of the other",
            other.sign(SigningKey::Access, &other_key, &ada_claims),
            unknown_key,
        ),
        ("the same with the expected key id", other.sign(SigningKey::Access, &key, &ada_claims), invalid),
        (
            "claims of the other pool under the key of this one",
            app.cognito.sign(SigningKey::Access, &key, &other_claims),
            unknown_key,
        ),
        (
            "the same with the expected key id",
            app.cognito.sign(SigningKey::Access, &other_key, &other_claims),
            invalid,
        ),
        (
            "an app client of the other pool",
            app.cognito.sign(SigningKey::Access, &key, &other_client),
            invalid,
        ),
    ] {
        let response = app.get_by_token(&token).await;
        assert!(response.is_err(), "{case}");
        assert_failure(response, code, reason);
    }
    let both =
        GetUserRequest { access_token: other.access_token("ada").unwrap(), ..GetUserRequest::default() };
    let response = app.get_user(with_token(&app.token("ada"), both)).await;
    assert_failure(response, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    let elsewhere = GetUserRequest { user_pool_id: OTHER.into(), ..GetUserRequest::default() };
    let response = app.get_user(with_token(&app.token("ada"), elsewhere)).await;
    assert_failure(response, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    assert_eq!((app.cognito_lookups(), other.calls("AdminGetUser")), (0, 0), "rejected calls reach no pool");
    assert!(app.get_by_token(&app.token("ada")).await.is_ok());
}

/// The stand-in accepts calls of the role's session only, and requires the external id for that
/// session.
#[test]
fn a_pools_calls_use_its_role() {
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
        let assume_role = cognito.last_input("AssumeRole").unwrap();
        assert_eq!(assume_role["RoleSessionName"], "cognito-lookup", "CloudTrail shows this name");
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

/// The key server of a deleted pool answers 404 for ever.
#[tokio::test]
async fn a_pool_without_keys_does_not_keep_the_others_from_being_served() {
    for require_all in [false, true] {
        let (app, other) = two_pools_unready(|config| config.require_all_pools = require_all).await;
        let own = format!("userlookup.v1.UserService/{}", app.cognito.pool_id());
        let others = format!("userlookup.v1.UserService/{OTHER}");
        let mut health = HealthClient::new(app.channel.clone());
        let mut watched = watch(&mut health, &others).await;
        assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
        let mut own_watched = watch(&mut health, &own).await;
        while next(&mut own_watched).await != ServingStatus::Serving {}
        app.wait_for_metric(&ready(app.cognito.pool_id()), |value| value > 0.5).await;
        assert_eq!(app.metric(&ready(OTHER)).await, 0.0);
        assert!(app.get_by_token(&app.token("ada")).await.is_ok());
        let theirs = app.get_by_token(&other.access_token("ada").unwrap()).await;
        assert_failure(theirs, Code::Unavailable, "KEYS_UNAVAILABLE");

        let whole = if require_all { ServingStatus::NotServing } else { ServingStatus::Serving };
        let expected =
            [("", whole), (own.as_str(), ServingStatus::Serving), (&others, ServingStatus::NotServing)];
        for (service, expected) in expected {
            assert_eq!(check(&mut health, service).await.unwrap(), expected, "{service}");
        }
        let listed = health.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
        assert_eq!(listed.len(), 5, "{listed:?}");
        for (service, expected) in expected {
            assert_eq!(listed[service].status(), expected, "{service}");
        }
        let unknown = check(&mut health, "userlookup.v1.UserService/eu-west-1_Nobody").await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
        let readyz = http_get(app.admin, "/readyz").await.0;
        assert_eq!(readyz, if require_all { 503 } else { 200 });

        other.clear_faults("jwks");
        assert_eq!(next(&mut watched).await, ServingStatus::Serving);
        app.wait_until_ready().await;
        app.wait_for_metric(&ready(OTHER), |value| value > 0.5).await;
        assert_eq!(check(&mut health, "").await.unwrap(), ServingStatus::Serving);
        assert!(app.get_by_token(&other.access_token("ada").unwrap()).await.is_ok());
    }
}

#[tokio::test]
async fn a_stopping_server_serves_no_pool() {
    let mut app = App::start_with_config(|config| config.shutdown.delay = Duration::from_secs(60)).await;
    let own = format!("userlookup.v1.UserService/{}", app.cognito.pool_id());
    let mut health = HealthClient::new(app.channel.clone());
    let mut watched = watch(&mut health, &own).await;
    assert_eq!(next(&mut watched).await, ServingStatus::Serving);
    app.stop();
    assert_eq!(next(&mut watched).await, ServingStatus::NotServing);
}

/// Regions of every partition that the SDK knows, and of one that only its future data has.
#[test]
fn a_pool_of_any_partition_has_its_own_key_server() {
    let folder = TempDir::new().unwrap();
    let partitions = folder.path().join("partitions.json");
    let outputs = json!({
        "name": "aws-mars", "dnsSuffix": "amazonaws.mars", "dualStackDnsSuffix": "api.mars",
        "supportsFIPS": false, "supportsDualStack": false, "implicitGlobalRegion": "mars-olympus-1",
    });
    let mars = json!({
        "version": "1.1",
        "partitions": [
            {"id": "aws-mars", "regionRegex": "^mars\\-\\w+\\-\\d+$", "regions": {}, "outputs": outputs},
        ],
    });
    std::fs::write(&partitions, mars.to_string()).unwrap();
    for (region, suffix, partitions) in [
        ("mx-central-1", "amazonaws.com", None),
        ("cn-northwest-1", "amazonaws.com.cn", None),
        ("us-gov-east-1", "amazonaws.com", None),
        ("eusc-de-east-1", "amazonaws.eu", None),
        ("us-iso-east-1", "c2s.ic.gov", None),
        ("us-isob-east-1", "sc2s.sgov.gov", None),
        ("eu-isoe-west-1", "cloud.adc-e.uk", None),
        ("us-isof-south-1", "csp.hci.ic.gov", None),
        ("mars-olympus-1", "amazonaws.mars", Some(&partitions)),
    ] {
        let pool = format!("{region}_AbCdEfGhI");
        let mut process = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
            .arg("serve")
            .env_clear()
            .envs(partitions.map(|path| ("SMITHY_CLIENT_SDK_CUSTOM_PARTITION", path)))
            .envs([
                ("COGNITO_LOOKUP_USER_POOL_ID", pool.as_str()),
                ("COGNITO_LOOKUP_APP_CLIENTS", "client1"),
                ("COGNITO_LOOKUP_ATTRIBUTES", "name"),
                ("COGNITO_LOOKUP_LISTEN", "127.0.0.1:0"),
                ("COGNITO_LOOKUP_ADMIN_LISTEN", "127.0.0.1:0"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(process.stderr.take().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().contains("jwks.url") {
                break;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let url = format!("https://cognito-idp.{region}.{suffix}/{pool}/.well-known/jwks.json");
        assert!(lines.last().is_some_and(|line| line.contains(&url)), "{region}: {lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("not AWS's own")), "{region}: {lines:#?}");
    }
}

fn ready(pool: &str) -> String {
    format!("cognito_lookup_pool_ready{{pool=\"{pool}\"}}")
}

async fn check(health: &mut HealthClient<Channel>, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    health.check(request).await.map(|response| response.into_inner().status())
}

async fn watch(health: &mut HealthClient<Channel>, service: &str) -> Streaming<HealthCheckResponse> {
    health.watch(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner()
}

async fn next(watched: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let patience = Duration::from_secs(30);
    timeout(patience, watched.message()).await.expect("a change").unwrap().unwrap().status()
}

/// Starts a server with two pools, each with its own stand-in and keys.
async fn two_pools() -> (App, StandIn) {
    two_pools_with(|_| {}).await
}

/// The same with changed settings.
pub(crate) async fn two_pools_with(change: impl FnOnce(&mut Config)) -> (App, StandIn) {
    let other = second_standin();
    let app = App::start_with_config(|config| {
        config.require_all_pools = true;
        add_second_pool(config, &other);
        change(config);
    })
    .await;
    (app, other)
}

/// The same, where the key server of the second pool knows no such pool.
async fn two_pools_unready(change: impl FnOnce(&mut Config)) -> (App, StandIn) {
    let other = second_standin();
    other.inject("jwks", Fault::Respond(HttpResponse::new(404, "application/json", "{}")));
    let app = App::start_unready(standin(), |config| {
        add_second_pool(config, &other);
        change(config);
    })
    .await;
    (app, other)
}

fn second_standin() -> StandIn {
    let pool = Pool { id: OTHER.into(), web_clients: vec![OTHER_WEB.into()], ..Pool::sandbox() };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let other = StandIn::start_with_keys(pool, address, Keys::generate().unwrap()).unwrap();
    other.update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Another Ada".into()))).unwrap();
    other
}

fn add_second_pool(config: &mut Config, other: &StandIn) {
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

fn name(response: &GetUserResponse) -> &str {
    &response.user.as_ref().unwrap().attributes["name"]
}

fn pool_of(response: &GetUserResponse) -> &str {
    &response.user.as_ref().unwrap().user_pool_id
}

const SETTINGS: &str = "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"";
const ROLE: &str = "arn:aws:iam::210987654321:role/user-lookup";
pub(crate) const OTHER: &str = "us-east-1_Sandbox02";
const OTHER_WEB: &str = "sandboxwebclient0000000002";
