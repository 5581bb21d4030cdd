use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use cognito_lookup::proto::{GetUserResponse, user_service_client::UserServiceClient};
use cognito_standin::{Pool, StandIn};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

use crate::{
    support::certificates::{Authority, Identity},
    support::process::Process,
    support::stub::Stub,
    support::{ADA, BOB, GRACE, about, assert_failure, connect, http_get, standin},
};

/// A host name may resolve to an error, late, or to a new address.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_is_resolved_for_each_connection_within_a_timeout() {
    let folder = TempDir::new().unwrap();
    let (resolver, names) = (folder.path().join("resolver.so"), folder.path().join("names"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/resolver.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&resolver, &source]).status();
    assert!(compiled.unwrap().success());
    let set_answer = |answer: &str| fs::write(&names, answer).unwrap();

    set_answer("0 127.0.0.1");
    let cognito = standin();
    let endpoint = format!("http://cognito.test:{}", cognito.address().port());
    let environment = [
        ("LD_PRELOAD", resolver.to_str().unwrap()),
        ("NAMES", names.to_str().unwrap()),
        ("COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL", &endpoint),
    ];
    let process = Process::serve_with_shell("exec \"$0\" \"$@\"", &cognito, SETTINGS, &environment);
    assert!(get_user(&process, ADA).await.is_ok());
    set_answer("0 -2");
    assert!(get_user(&process, BOB).await.is_ok(), "an open connection needs no resolution");

    // All connections are closed, so the next call resolves the name.
    cognito.stop().unwrap();
    cognito.resume().unwrap();
    for (case, answer) in [
        ("no such name", "0 -2"),
        ("the name server fails", "0 -3"),
        ("the name has no address", "0 -5"),
        ("the name server is slow", "5000 127.0.0.1"),
    ] {
        set_answer(answer);
        let status =
            assert_failure(get_user(&process, GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(get_user(&process, ADA).await.is_ok(), "cached users are served: {case}, {status}");
    }
    let moved = SocketAddr::from(([127, 0, 0, 2], cognito.address().port()));
    let moved = StandIn::start_at(Pool::sandbox(), moved).unwrap();
    set_answer("0 127.0.0.2");
    assert_failure(get_user(&process, "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(moved.calls("AdminGetUser"), 1, "the new address is used at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_a_valid_certificate_gets_no_requests() {
    let cognito = standin();
    let (trusted, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
    let proxy = TlsProxy::start(&cognito).await;
    let folder = TempDir::new().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, &trusted.pem).unwrap();
    let url = format!("https://localhost:{}", proxy.address.port());
    let keys = cognito.jwks_url().replace(&format!("http://{}", cognito.address()), &url);
    let environment = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL", &url),
        ("COGNITO_LOOKUP_POOLS__0__JWKS_URL", &keys),
    ];
    proxy.set_certificate(&trusted.other_server());
    let process = Process::listen_with_shell("exec \"$0\" \"$@\"", &cognito, SETTINGS, &environment);
    for identity in [trusted.other_server(), trusted.expired_server(), stranger.server()] {
        proxy.set_certificate(&identity);
        let connections_before = proxy.connections();
        assert_failure(get_user(&process, ADA).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(proxy.connections() > connections_before, "the server tried to connect");
        assert_eq!(http_get(process.admin, "/readyz").await.0, 503, "the server has no keys");
    }
    assert_eq!((cognito.calls("AdminGetUser"), cognito.calls("jwks")), (0, 0));
    proxy.set_certificate(&trusted.server());
    process.wait_for_log("serving");
    assert!(get_user(&process, ADA).await.is_ok());
}

/// The credentials come from the container credentials endpoint of ECS.
#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_do_not_affect_cached_users() {
    let cognito = standin();
    let credentials_server = Stub::start("<html>").await;
    let url = format!("http://{}/credentials", credentials_server.address);
    let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_EC2_METADATA_DISABLED", "true")];
    let line = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; exec \"$0\" \"$@\"";
    let process = Process::listen_with_shell(line, &cognito, SETTINGS, &environment);
    process.wait_for_log("no AWS credentials yet");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 503);
    assert_eq!(http_get(process.admin, "/livez").await.0, 200);
    assert_eq!(cognito.calls("AdminGetUser"), 0);

    // They are renewed in half of this time.
    credentials_server.set_response(&credentials(Duration::from_secs(11)));
    process.wait_for_log("serving");
    assert!(get_user(&process, ADA).await.is_ok());
    for bad in ["<html>", ""] {
        credentials_server.set_response(bad);
        process.wait_for_log("the AWS credentials cannot be renewed, and the previous ones stay in use");
        assert_failure(get_user(&process, "stranger").await, Code::NotFound, "USER_NOT_FOUND");
        assert!(get_user(&process, ADA).await.is_ok());
        assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    }
    credentials_server.set_response(&credentials(Duration::from_secs(3600)));
    assert!(get_user(&process, BOB).await.is_ok());
}

async fn get_user(process: &Process, sub: &str) -> Result<GetUserResponse, Status> {
    let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    users.get_user(about(sub)).await.map(tonic::Response::into_inner)
}

const SETTINGS: &str = "listen = \"127.0.0.1:0\"";

/// Terminates TLS for a stand-in, with a certificate that a test can change.
struct TlsProxy {
    address: SocketAddr,
    current: Arc<Mutex<(Option<TlsAcceptor>, usize)>>,
    _serving: JoinSet<()>,
}

impl TlsProxy {
    async fn start(cognito: &StandIn) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, upstream) = (listener.local_addr().unwrap(), cognito.address());
        let current = Arc::new(Mutex::new((None::<TlsAcceptor>, 0)));
        let mut serving = JoinSet::new();
        let shared = Arc::clone(&current);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = {
                    let mut current = shared.lock().unwrap();
                    current.1 += 1;
                    current.0.clone().unwrap()
                };
                connections.spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut upstream = TcpStream::connect(upstream).await.unwrap();
                        drop(copy_bidirectional(&mut stream, &mut upstream).await);
                    }
                });
            }
        });
        Self { address, current, _serving: serving }
    }

    fn set_certificate(&self, identity: &Identity) {
        self.current.lock().unwrap().0 = Some(identity.acceptor());
    }

    fn connections(&self) -> usize {
        self.current.lock().unwrap().1
    }
}

fn credentials(time: Duration) -> String {
    let expiration = humantime::format_rfc3339_seconds(SystemTime::now() + time);
    serde_json::json!({"AccessKeyId": "x", "SecretAccessKey": "x", "Token": "x", "Expiration": expiration.to_string()})
        .to_string()
}
