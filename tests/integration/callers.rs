use std::net::SocketAddr;

use cognito_lookup::{
    config::{CallerSettings, ClientCertificate, Config, Reads},
    proto::{GetUserRequest, GetUserResponse, user_service_client::UserServiceClient},
};
use rcgen::SanType;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    support::certificates::{Authority, Files, Identity, client_config},
    support::process::Process,
    support::tls_client::connect,
    support::{ADA, App, BOB, GRACE, WEB, about, assert_failure, names, standin, with_token},
};

const MACHINE: &str = "sandboxmachine000000000001";
const OTHER_MACHINE: &str = "sandboxmachine000000000002";
const SCOPE: &str = "user-lookup/read";

#[tokio::test]
async fn a_machine_reads_what_its_rule_allows() {
    let app = App::start_with_config(rules).await;
    let desk = app.cognito.machine_token(MACHINE, &[SCOPE]);
    let answer = app.get_user(with_token(&desk, about(GRACE))).await.unwrap();
    assert_eq!(names(&answer), ["email", "name"], "any user, by sub");
    let (other, ada) = (app.cognito.machine_token(OTHER_MACHINE, &["x/y"]), app.token("ada"));
    let presenting = |token: &str| GetUserRequest { access_token: token.into(), ..about("") };
    let answer = app.get_user(with_token(&other, presenting(&ada))).await.unwrap();
    assert_eq!(names(&answer), ["name"], "the user whose token it presents");
    assert_eq!(answer.user.unwrap().sub, ADA);

    let (asked, denied) = (app.cognito_lookups(), Code::PermissionDenied);
    let scopeless = app.cognito.machine_token(MACHINE, &["user-lookup/write"]);
    let unruled = app.cognito.machine_token("sandboxmachine000000000003", &[SCOPE]);
    for (case, token, message, code, reason) in [
        ("without its scope", &scopeless, about(BOB), denied, "SCOPE_MISSING"),
        ("without a rule", &unruled, about(BOB), denied, "CALLER_NOT_ALLOWED"),
        ("by a sub alone", &other, about(BOB), denied, "SUBJECT_NOT_ALLOWED"),
        ("without a user", &desk, about(""), Code::InvalidArgument, "SUB_MALFORMED"),
        ("alone, where a user's is required", &other, about(""), Code::Unauthenticated, "TOKEN_WRONG_TYPE"),
        ("with two users", &desk, presenting_and(&ada, BOB), Code::InvalidArgument, "SUBJECT_AMBIGUOUS"),
        (
            "with a machine's token for a user's",
            &other,
            presenting(&desk),
            Code::Unauthenticated,
            "TOKEN_WRONG_TYPE",
        ),
        (
            "with an attribute that is not released",
            &desk,
            GetUserRequest { attributes: vec!["custom:plan".into()], ..about(BOB) },
            denied,
            "ATTRIBUTE_NOT_ALLOWED",
        ),
    ] {
        let answer = app.get_user(with_token(token, message)).await;
        assert!(answer.is_err(), "{case}");
        assert_failure(answer, code, reason);
    }
    assert_eq!(app.cognito_lookups(), asked, "a refusal makes no call to Cognito");
}

#[tokio::test]
async fn a_client_certificate_identifies_the_caller() {
    let server = MtlsServer::start().await;
    let billing = server.channel(&server.clients.client("billing.example.com")).await;
    let by_sub = ask(&billing, Request::new(about(GRACE))).await.unwrap();
    assert_eq!(names(&by_sub), ["email"]);
    let spiffe = server.clients.named(vec![uri("spiffe://example.com/reports")]);
    let reports = server.channel(&spiffe).await;
    let token = server.app.token("ada");
    let forwarded = ask(&reports, with_token(&token, GetUserRequest::default())).await.unwrap();
    assert_eq!(names(&forwarded), ["name"], "its own rule, and the token's user");
    assert_eq!(forwarded.user.unwrap().sub, ADA);

    let asked = server.app.cognito_lookups();
    let alone = ask(&reports, Request::new(about(BOB))).await;
    assert_failure(alone, Code::PermissionDenied, "SUBJECT_NOT_ALLOWED");
    let nobody = ask(&reports, Request::new(about(""))).await;
    assert_failure(nobody, Code::Unauthenticated, "TOKEN_MISSING");
    let id_token = server.app.cognito.id_token("ada").unwrap();
    let bad = ask(&billing, with_token(&id_token, about(GRACE))).await;
    assert_failure(bad, Code::Unauthenticated, "ID_TOKEN_REFUSED");
    let other = ask(&billing, with_token(&token, about(BOB))).await;
    assert_failure(other, Code::InvalidArgument, "SUBJECT_AMBIGUOUS");
    assert_eq!(server.app.cognito_lookups(), asked, "a refusal makes no call to Cognito");
}

/// All certificates are valid and from the trusted authority. Without one, the network or the token
/// would be accepted.
#[tokio::test]
async fn a_certificate_with_an_unknown_name_is_refused() {
    let server = MtlsServer::start().await;
    let token = server.app.token("ada");
    for (case, names) in [
        ("another host", vec![dns("accounting.example.com")]),
        ("a host within", vec![dns("a.billing.example.com")]),
        ("a wildcard", vec![dns("*.example.com")]),
        ("upper case", vec![dns("Billing.example.com")]),
        ("a dot behind", vec![dns("billing.example.com.")]),
        ("a NUL within", vec![dns("billing.example.com\0.evil.example")]),
        ("the host as a URI", vec![uri("billing.example.com")]),
        ("a URI with more behind", vec![uri("spiffe://example.com/reports/x")]),
        ("two callers' names", vec![dns("billing.example.com"), uri("spiffe://example.com/reports")]),
        ("no name but the common one", vec![]),
    ] {
        let channel = server.channel(&server.clients.named(names)).await;
        for request in [Request::new(about(ADA)), with_token(&token, GetUserRequest::default())] {
            let answer = ask(&channel, request).await;
            assert!(answer.is_err(), "{case}");
            assert_failure(answer, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        }
    }
    assert_eq!(server.app.cognito_lookups(), 0);
}

#[tokio::test]
async fn identity_headers_are_ignored() {
    let server = MtlsServer::start().await;
    let nobody = server.channel(&server.clients.client("nobody.example.com")).await;
    for (name, value) in [
        ("x-forwarded-client-cert", "By=x;URI=spiffe://example.com/reports;DNS=billing.example.com"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-amzn-oidc-identity", ADA),
        ("x-user-sub", ADA),
        ("x-forwarded-authorization", "Bearer x"),
    ] {
        let mut request = Request::new(about(ADA));
        request.metadata_mut().insert(name, value.parse().unwrap());
        assert_failure(ask(&nobody, request).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn a_call_through_a_proxy_is_not_from_this_machine() {
    let network = ["127.0.0.0/8", "unix"];
    let with = |proxied| {
        move |config: &mut Config| {
            config.callers[1].network = network.map(Into::into).into();
            config.callers[1].proxied = proxied;
        }
    };
    let marks = [
        ("x-forwarded-for", "10.1.2.3"),
        ("x-forwarded-client-cert", "By=x;URI=spiffe://example.com/web"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.1.2.3"),
        ("via", "1.1 proxy"),
        ("x-envoy-external-address", "10.1.2.3"),
        ("x-envoy-attempt-count", "1"),
        ("x-real-ip", "10.1.2.3"),
    ];
    for proxied in [false, true] {
        let app = App::start_with_config(with(proxied)).await;
        assert!(app.get_by_sub(ADA).await.is_ok(), "the control");
        for (name, value) in marks {
            let mut request = Request::new(about(ADA));
            request.metadata_mut().insert(name, value.parse().unwrap());
            let answer = app.get_user(request).await;
            assert_eq!(answer.is_ok(), proxied, "{name}");
            if !proxied {
                assert_failure(answer, Code::Unauthenticated, "TOKEN_MISSING");
            }
            // A token is a credential wherever it comes from.
            let mut forwarded = with_token(&app.token("ada"), about(""));
            forwarded.metadata_mut().insert(name, value.parse().unwrap());
            assert!(app.get_user(forwarded).await.is_ok(), "{name}");
        }
        let sidecar = channel_from("127.0.0.6", app.address).await;
        assert_eq!(ask(&sidecar, Request::new(about(ADA))).await.is_ok(), proxied, "Istio's address");
        let other = channel_from("127.0.0.7", app.address).await;
        assert!(ask(&other, Request::new(about(ADA))).await.is_ok(), "another address of this machine");
    }
    let named = App::start_with_config(|config| {
        config.callers[1].network = vec!["127.0.0.6/32".into()];
    })
    .await;
    let sidecar = channel_from("127.0.0.6", named.address).await;
    assert!(ask(&sidecar, Request::new(about(ADA))).await.is_ok(), "the rule names this address");
}

#[test]
fn a_rule_without_a_credential_is_warned_about() {
    let cognito = standin();
    for (listen, proxied, expected) in [
        ("127.0.0.1:0", "", Some("leaves no marks")),
        ("127.0.0.1:0", "proxied = true", Some("proxied = true")),
        ("unix:SOCKET", "", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let listen = listen.replace("SOCKET", folder.path().join("lookup.sock").to_str().unwrap());
        let settings = format!("listen = \"{listen}\"\n[shutdown]\ndelay = \"0s\"");
        // The last table of the settings is the rule of this machine.
        let line = format!("printf '{proxied}\\n' >> \"$3\"; exec \"$0\" \"$@\"");
        let process = Process::serve_with_shell(&line, &cognito, &settings, &[]);
        let warnings: Vec<_> = process
            .start
            .iter()
            .filter(|line| line["level"] == "WARN" && line["caller.name"] == "sidecar")
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
        assert!(expected.is_none_or(|expected| warnings[0].contains(expected)), "{warnings:?}");
    }
}

#[test]
fn the_log_says_why_a_call_without_a_users_token_is_refused() {
    let cognito = standin();
    let machine = cognito.machine_token(WEB, &[]);
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, machine).unwrap();
    let refused = process.client(&["get", "--token-file", file.to_str().unwrap()]).unwrap_err();
    assert!(refused.contains("TOKEN_WRONG_TYPE"), "{refused}");
    let lines = process.log_until("call failed");
    let cause = lines.last().unwrap()["cause"].as_str().unwrap();
    assert!(cause.contains("a machine's") && cause.contains("user's access token"), "{cause}");
}

#[tokio::test]
async fn attributes_cached_for_one_caller_do_not_reach_another() {
    for broad_first in [true, false] {
        let app = App::start_with_config(rules).await;
        let desk = app.cognito.machine_token(MACHINE, &[SCOPE]);
        let broad =
            || async { names(&app.get_user(with_token(&desk, about(GRACE))).await.unwrap()).join(",") };
        let narrow = || async { names(&app.get_by_sub(GRACE).await.unwrap()).join(",") };
        for turn in 0..4 {
            let (asked, expected) = if (turn % 2 == 0) == broad_first {
                (broad().await, "email,name")
            } else {
                (narrow().await, "name")
            };
            assert_eq!(asked, expected, "{broad_first} {turn}");
        }
        let wanted = GetUserRequest { attributes: vec!["email".into()], ..about(GRACE) };
        assert_failure(
            app.get_user(Request::new(wanted)).await,
            Code::PermissionDenied,
            "ATTRIBUTE_NOT_ALLOWED",
        );
        assert_eq!(
            app.cognito_lookups(),
            2,
            "Grace is federated: a lookup by sub, then a list, then cache hits"
        );
    }
}

/// A server that accepts client certificates, with rules for two of them.
struct MtlsServer {
    app: App,
    servers: Authority,
    clients: Authority,
    _files: Files,
}

impl MtlsServer {
    async fn start() -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let files = Files::new(&servers.server(), &clients);
        let set = files.set(ClientCertificate::Required);
        let app = App::start_unready(standin(), |config| {
            set(config);
            rules(config);
            config.callers.extend([
                CallerSettings {
                    certificate: Some("billing.example.com".into()),
                    ..rule("billing", Reads::Any, &["email"])
                },
                CallerSettings {
                    certificate: Some("spiffe://example.com/reports".into()),
                    ..rule("reports", Reads::Token, &["name"])
                },
            ]);
        })
        .await;
        app.wait_until_ready().await;
        Self { app, servers, clients, _files: files }
    }

    async fn channel(&self, identity: &Identity) -> Channel {
        connect(self.app.address, client_config(&[&self.servers], Some(identity))).await.unwrap()
    }
}

fn rules(config: &mut Config) {
    let machines = [MACHINE, OTHER_MACHINE, "sandboxmachine000000000003"];
    config.pools[0].app_clients.extend(machines.map(Into::into));
    config.callers.extend([
        CallerSettings {
            app_client: Some(MACHINE.into()),
            scope: Some(SCOPE.into()),
            ..rule("desk", Reads::Any, &["name", "email"])
        },
        CallerSettings { app_client: Some(OTHER_MACHINE.into()), ..rule("other", Reads::Token, &["name"]) },
    ]);
    assert!(config.callers.iter().any(|caller| caller.app_client.as_deref() == Some(WEB)));
}

fn rule(name: &str, reads: Reads, attributes: &[&str]) -> CallerSettings {
    let attributes = attributes.iter().map(ToString::to_string).collect();
    CallerSettings { name: name.into(), reads, attributes, ..CallerSettings::default() }
}

fn presenting_and(token: &str, sub: &str) -> GetUserRequest {
    GetUserRequest { access_token: token.into(), ..about(sub) }
}

async fn ask(channel: &Channel, request: Request<GetUserRequest>) -> Result<GetUserResponse, Status> {
    UserServiceClient::new(channel.clone()).get_user(request).await.map(tonic::Response::into_inner)
}

/// Connects from a given address of this machine.
async fn channel_from(source: &str, server: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{server}")).unwrap();
    endpoint.local_address(Some(source.parse().unwrap())).connect().await.unwrap()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}
