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
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

use crate::{
    support::certificates::{Authority, Identity},
    support::process::Process,
    support::{ADA, BOB, GRACE, about, assert_failure, connect, http_get, standin},
};

/// The names of addresses are as good as their server: an answer may be none, late, or a new one.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_for_each_connection_and_not_waited_for_for_long() {
    let folder = TempDir::new().unwrap();
    let (library, names) = (folder.path().join("resolver.so"), folder.path().join("names"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/resolver.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success());
    let resolve = |answer: &str| fs::write(&names, answer).unwrap();

    resolve("0 127.0.0.1");
    let cognito = standin();
    let endpoint = format!("http://cognito.test:{}", cognito.address().port());
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("NAMES", names.to_str().unwrap()),
        ("COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL", &endpoint),
    ];
    let process = Process::serve_with_shell("exec \"$0\" \"$@\"", &cognito, SETTINGS, &environment);
    assert!(ask(&process, ADA).await.is_ok());
    resolve("0 -2");
    assert!(ask(&process, BOB).await.is_ok(), "a connection that is there needs no name");

    // Every connection is gone, and with the next one the name is asked for.
    cognito.stop().unwrap();
    cognito.resume().unwrap();
    for (case, answer) in [
        ("there is no such name", "0 -2"),
        ("its server fails", "0 -3"),
        ("it has no address", "0 -5"),
        ("its server is slow", "5000 127.0.0.1"),
    ] {
        resolve(answer);
        let status = assert_failure(ask(&process, GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(ask(&process, ADA).await.is_ok(), "what is held is served: {case}, {status}");
    }
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], cognito.address().port()));
    let elsewhere = StandIn::start_at(Pool::sandbox(), elsewhere).unwrap();
    resolve("0 127.0.0.2");
    assert_failure(ask(&process, "nobody").await, Code::NotFound, "USER_NOT_FOUND");
    assert_eq!(elsewhere.calls("AdminGetUser"), 1, "the new address is used at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_and_nothing_believed_from_who_cannot_prove_to_be_cognito() {
    let cognito = standin();
    let (trusted, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
    let front = Front::before(&cognito).await;
    let folder = TempDir::new().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::write(&roots, &trusted.pem).unwrap();
    let url = format!("https://localhost:{}", front.address.port());
    let keys = cognito.jwks_url().replace(&format!("http://{}", cognito.address()), &url);
    let environment = [
        ("SSL_CERT_FILE", roots.to_str().unwrap()),
        ("COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL", &url),
        ("COGNITO_LOOKUP_POOLS__0__JWKS_URL", &keys),
    ];
    front.show(&trusted.other_server());
    let process = Process::listen_with_shell("exec \"$0\" \"$@\"", &cognito, SETTINGS, &environment);
    for identity in [trusted.other_server(), trusted.expired_server(), stranger.server()] {
        front.show(&identity);
        let asked = front.connections();
        assert_failure(ask(&process, ADA).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(front.connections() > asked, "it was tried");
        assert_eq!(http_get(process.admin, "/readyz").await.0, 503, "it has no keys");
    }
    assert_eq!((cognito.calls("AdminGetUser"), cognito.calls("jwks")), (0, 0));
    front.show(&trusted.server());
    process.wait_for_log("serving");
    assert!(ask(&process, ADA).await.is_ok());
}

/// As a task of ECS gets them.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cannot_be_had_take_nothing_from_what_is_held() {
    let cognito = standin();
    let giver = Giver::start().await;
    giver.give("<html>");
    let url = format!("http://{}/credentials", giver.address);
    let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_EC2_METADATA_DISABLED", "true")];
    let line = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; exec \"$0\" \"$@\"";
    let process = Process::listen_with_shell(line, &cognito, SETTINGS, &environment);
    process.wait_for_log("no AWS credentials yet");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 503);
    assert_eq!(http_get(process.admin, "/livez").await.0, 200);
    assert_eq!(cognito.calls("AdminGetUser"), 0);

    // Used for a second at most, for the SDK asks for others 10 s before their end.
    giver.give(&credentials(Duration::from_secs(11)));
    process.wait_for_log("serving");
    assert!(ask(&process, ADA).await.is_ok());
    for bad in ["<html>", ""] {
        giver.give(bad);
        giver.asked_again(&process).await;
        assert_failure(ask(&process, "stranger").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert!(ask(&process, ADA).await.is_ok());
        assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    }
    giver.give(&credentials(Duration::from_secs(3600)));
    assert!(ask(&process, BOB).await.is_ok());
}

async fn ask(process: &Process, sub: &str) -> Result<GetUserResponse, Status> {
    let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    users.get_user(about(sub)).await.map(tonic::Response::into_inner)
}

const SETTINGS: &str = "listen = \"127.0.0.1:0\"";

/// TLS before a stand-in, with a certificate that can be changed.
struct Front {
    address: SocketAddr,
    shown: Arc<Mutex<(Option<TlsAcceptor>, usize)>>,
    _serving: JoinSet<()>,
}

impl Front {
    async fn before(cognito: &StandIn) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), cognito.address());
        let shown = Arc::new(Mutex::new((None::<TlsAcceptor>, 0)));
        let mut serving = JoinSet::new();
        let show = Arc::clone(&shown);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = {
                    let mut shown = show.lock().unwrap();
                    shown.1 += 1;
                    shown.0.clone().unwrap()
                };
                connections.spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        let mut behind = TcpStream::connect(behind).await.unwrap();
                        drop(copy_bidirectional(&mut stream, &mut behind).await);
                    }
                });
            }
        });
        Self { address, shown, _serving: serving }
    }

    fn show(&self, identity: &Identity) {
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.der().into()], key)
            .unwrap();
        self.shown.lock().unwrap().0 = Some(TlsAcceptor::from(Arc::new(config)));
    }

    fn connections(&self) -> usize {
        self.shown.lock().unwrap().1
    }
}

/// The endpoint that gives credentials to a container.
struct Giver {
    address: SocketAddr,
    given: Arc<Mutex<(String, usize)>>,
    _serving: JoinSet<()>,
}

impl Giver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, given) = (listener.local_addr().unwrap(), Arc::new(Mutex::new((String::new(), 0))));
        let mut serving = JoinSet::new();
        let gives = Arc::clone(&given);
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let body = {
                    let mut given = gives.lock().unwrap();
                    given.1 += 1;
                    given.0.clone()
                };
                drop(stream.read(&mut [0; 4096]).await);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { address, given, _serving: serving }
    }

    fn give(&self, body: &str) {
        self.given.lock().unwrap().0 = body.to_owned();
    }

    fn times(&self) -> usize {
        self.given.lock().unwrap().1
    }

    /// Asks about new people until that needs new credentials.
    async fn asked_again(&self, process: &Process) {
        let before = self.times();
        for n in 0.. {
            drop(ask(process, &format!("new-{before}-{n}")).await);
            if self.times() > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn credentials(time: Duration) -> String {
    let expiration = humantime::format_rfc3339_seconds(SystemTime::now() + time);
    serde_json::json!({"AccessKeyId": "x", "SecretAccessKey": "x", "Token": "x", "Expiration": expiration.to_string()})
        .to_string()
}
