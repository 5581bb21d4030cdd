use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::support::{
    ADA,
    certificates::{Authority, Identity},
    process::{self, Process},
    standin,
    stub::Stub,
};

/// Cognito, STS, the signing keys and the trace collector, each behind TLS of a private authority and
/// reached through the proxy; the endpoint of container credentials directly.
#[tokio::test(flavor = "multi_thread")]
async fn every_outgoing_connection_uses_the_proxy_and_the_authority_of_the_environment() {
    let cognito = standin();
    let (authority, proxy) = (Authority::new("inspection"), Proxy::start().await);
    let tls = Tls::start(cognito.address(), &authority.server()).await;
    let credentials = Stub::start(CREDENTIALS).await;
    let traces = Stub::start("").await;
    let folder = TempDir::new().unwrap();
    let url = format!("https://localhost:{}", tls.port());
    let keys = cognito.jwks_url().replace(&format!("http://{}", cognito.address()), &url);
    let proxy_url = format!("http://user:s3cret@{}", proxy.address);
    let collector = format!("http://localhost:{}", traces.address.port());
    let bundle = file(&folder, "bundle.pem", &authority.pem);
    let credentials_url = format!("http://{}/credentials", credentials.address);
    let environment = [
        ("COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL", &*url),
        ("COGNITO_LOOKUP_POOLS__0__JWKS_URL", &keys),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &credentials_url),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CA_BUNDLE", &bundle),
        ("HTTPS_PROXY", &proxy_url),
        ("http_proxy", &proxy_url),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let process = Process::listen_with_shell(NO_KEYS, &cognito, SETTINGS, &environment);
    process.wait_for_log("serving");
    assert!(process.client(&["get", "--sub", ADA]).is_ok());
    let tunnel = format!("CONNECT localhost:{} HTTP/1.1", tls.port());
    let forwarded = format!("POST {collector}/v1/traces HTTP/1.1");
    proxy.wait_for(&tunnel, 2).await;
    proxy.wait_for(&forwarded, 1).await;
    assert!(traces.requests() >= 1);
    assert!(credentials.requests() >= 1);
    let seen = proxy.seen();
    assert!(seen.iter().all(|(line, _)| *line == tunnel || *line == forwarded), "{seen:?}");
    let authorization = "Basic dXNlcjpzM2NyZXQ=";
    assert!(seen.iter().all(|(_, sent)| sent.as_deref() == Some(authorization)), "{seen:?}");
    let start: Vec<_> = process.start.iter().map(ToString::to_string).collect();
    assert!(start.iter().any(|line| line.contains("HTTPS_PROXY")), "{start:#?}");
    assert!(start.iter().any(|line| line.contains("AWS_CA_BUNDLE")), "{start:#?}");
    assert!(!start.iter().any(|line| line.contains("s3cret")), "{start:#?}");
}

/// gRPC cannot be forwarded, so the proxy tunnels it whatever the scheme.
#[tokio::test(flavor = "multi_thread")]
async fn traces_over_grpc_use_the_proxy_too() {
    let (cognito, proxy) = (standin(), Proxy::start().await);
    let traces = Stub::start("").await;
    let proxy_url = format!("http://{}", proxy.address);
    let collector = format!("http://localhost:{}", traces.address.port());
    let environment = [
        ("HTTP_PROXY", &*proxy_url),
        ("NO_PROXY", "127.0.0.0/8"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let process = Process::serve_with_shell(AS_IS, &cognito, SETTINGS, &environment);
    assert!(process.client(&["get", "--sub", ADA]).is_ok());
    let tunnel = format!("CONNECT localhost:{} HTTP/1.1", traces.address.port());
    proxy.wait_for(&tunnel, 1).await;
    assert!(proxy.seen().iter().all(|(line, _)| *line == tunnel), "NO_PROXY: {:?}", proxy.seen());
}

#[test]
fn an_unknown_trace_protocol_is_one_warning() {
    let cognito = standin();
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ];
    let process = Process::serve_with_shell(AS_IS, &cognito, SETTINGS, &environment);
    let warnings: Vec<_> =
        process.start.iter().filter(|line| line["message"] == "traces cannot be exported").collect();
    assert_eq!(warnings.len(), 1, "{:#?}", process.start);
    let cause = warnings[0]["cause"].as_str().unwrap();
    assert!(cause.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: \"http/json\""), "{cause}");
}

#[test]
fn a_variable_that_cannot_be_used_is_named() {
    let (cognito, folder) = (standin(), TempDir::new().unwrap());
    let settings = file(&folder, "settings.toml", &process::pool(&cognito, "name"));
    let (empty, text) = (file(&folder, "empty.pem", ""), file(&folder, "text.pem", "no certificate"));
    let missing = folder.path().join("missing").display().to_string();
    let table = [
        ("AWS_CA_BUNDLE", &*missing),
        ("AWS_CA_BUNDLE", &empty),
        ("AWS_CA_BUNDLE", &text),
        ("SSL_CERT_FILE", &missing),
        ("SSL_CERT_FILE", &text),
        ("SSL_CERT_DIR", &missing),
        ("HTTPS_PROXY", "socks5://user:s3cret@127.0.0.1:1080"),
        ("https_proxy", "http://user:s3cret@"),
        ("HTTP_PROXY", "ftp://user:s3cret@proxy.corp"),
        ("ALL_PROXY", "socks5://user:s3cret@127.0.0.1:1080"),
    ];
    for (variable, value) in table {
        // The bundle may come later: `boot` tests that.
        let waits = variable == "AWS_CA_BUNDLE" && value == missing;
        for command in [&["config", "check"][..], &["serve"]].into_iter().take(if waits { 1 } else { 2 }) {
            let output = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
                .args(command)
                .args(["--config", &settings])
                .env_clear()
                .env(variable, value)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{variable}={value} {command:?}: {text}");
            assert!(text.contains(&format!("{variable}: ")), "{variable}={value}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

/// An HTTP proxy that tunnels and forwards, and remembers the first line of each request.
struct Proxy {
    address: SocketAddr,
    seen: Seen,
    _serving: JoinSet<()>,
}

/// Request lines, and the `Proxy-Authorization` of each.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
        let (mut serving, shared) = (JoinSet::new(), Arc::clone(&seen));
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                open.spawn(pass(client, Arc::clone(&shared)));
            }
        });
        Self { address, seen, _serving: serving }
    }

    fn seen(&self) -> Vec<(String, Option<String>)> {
        self.seen.lock().unwrap().clone()
    }

    async fn wait_for(&self, line: &str, count: usize) {
        let begun = Instant::now();
        while self.seen().iter().filter(|(seen, _)| seen == line).count() < count {
            assert!(begun.elapsed() < Duration::from_secs(30), "{line} is not in {:?}", self.seen());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn pass(client: TcpStream, seen: Seen) {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    let line = head.lines().next().unwrap().to_owned();
    let authorization = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    });
    seen.lock().unwrap().push((line.clone(), authorization));
    let target = line.split(' ').nth(1).unwrap();
    let authority = target.trim_start_matches("http://").split('/').next().unwrap();
    let port: u16 = authority.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    if line.starts_with("CONNECT") {
        client.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    } else {
        server.write_all(head.as_bytes()).await.unwrap();
        server.write_all(client.buffer()).await.unwrap();
        let buffered = client.buffer().len();
        client.consume(buffered);
    }
    drop(copy_bidirectional(&mut client, &mut server).await);
}

/// Terminates TLS for a server.
struct Tls {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Tls {
    async fn start(server: SocketAddr, identity: &Identity) -> Self {
        let acceptor = identity.acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, mut serving) = (listener.local_addr().unwrap(), JoinSet::new());
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                open.spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(server).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address, _serving: serving }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }
}

fn file(folder: &TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    Path::display(&path).to_string()
}

const SETTINGS: &str = "listen = \"127.0.0.1:0\"";
const AS_IS: &str = "exec \"$0\" \"$@\"";
const NO_KEYS: &str = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; exec \"$0\" \"$@\"";
const CREDENTIALS: &str =
    r#"{"AccessKeyId":"x","SecretAccessKey":"x","Token":"x","Expiration":"2099-01-01T00:00:00Z"}"#;
