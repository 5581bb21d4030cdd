//! The link to the store: how it connects, what it reports, and how it recovers.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use cognito_lookup::{
    outgoing::Outgoing,
    shared_cache::{
        Address, Auth, Call, CallError, ClientFiles, Event, Link, Mode, Reply, Script, StreamPosition,
        Target, Tls, Transport as _,
    },
    telemetry::metrics::Metrics,
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tracing::{Level, subscriber::DefaultGuard};

use super::store::{Cluster, Store, free_port};
use crate::support::{
    certificates::{Authority, Identity},
    relay::Relay,
};

static WRITE: Script =
    Script { name: "write", source: "redis.call('HSET', KEYS[1], 'f', ARGV[1]) return {1, ARGV[1], false}" };
static ADD: Script =
    Script { name: "add", source: "return redis.call('XADD', KEYS[1], '*', 'n', ARGV[1], 'e', ARGV[2])" };
static BROKEN: Script = Script { name: "broken", source: "return nothing.at.all" };

/// A link with its metrics and its log.
struct Linked {
    link: Arc<Link>,
    metrics: Metrics,
    log: Log,
    _guard: DefaultGuard,
}

impl Linked {
    fn start(target: Target) -> Self {
        let (log, metrics) = (Log::default(), Metrics::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        // The test has one thread, which runs all tasks.
        let guard = tracing::subscriber::set_default(subscriber);
        let link = Link::start(target, &metrics.shared_cache, &Outgoing::default());
        Self { link, metrics, log, _guard: guard }
    }

    /// Starts a link and waits until it is available.
    async fn connected(target: Target) -> Self {
        let linked = Self::start(target);
        linked.available().await;
        linked
    }

    async fn available(&self) {
        self.until("available", || self.link.is_available()).await;
    }

    async fn unavailable(&self) {
        self.until("unavailable", || !self.link.is_available()).await;
    }

    async fn logged(&self, text: &str) {
        self.until(text, || self.log.text().contains(text)).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(20), "not {what}:\n{}", self.log.text());
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn write(&self, key: &str) -> Result<Reply, CallError> {
        self.link.call(call(&WRITE, key, &["x"])).await
    }

    /// Returns the value of a metric.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.text();
        let prefix = format!("cognito_lookup_shared_cache_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn call(script: &'static Script, key: &str, args: &[&str]) -> Call {
    Call {
        script,
        keys: vec![key.to_owned()],
        args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
    }
}

fn written() -> Result<Reply, CallError> {
    Ok(Reply::Array(vec![Reply::Int(1), Reply::Bytes(b"x".to_vec()), Reply::Nil]))
}

fn tcp(port: u16) -> Address {
    Address::Tcp { host: "localhost".to_owned(), port }
}

fn standalone(port: u16) -> Target {
    target(Mode::Standalone(tcp(port)))
}

fn target(mode: Mode) -> Target {
    Target {
        mode,
        tls: None,
        auth: Auth::None,
        // Longer than the default, because the tests share a machine.
        timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(1000),
        namespace: "cl".parse().unwrap(),
    }
}

#[tokio::test]
async fn scripts_run_and_events_are_read() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric("open"), 0.0);
    let start = StreamPosition("0-0".to_owned());
    let wait = Duration::from_millis(50);
    assert_eq!(linked.link.read("cl:e1:{e}:s", &start, wait).await.unwrap().0, [], "the time is up");
    let (read, ()) = tokio::join!(linked.link.read("cl:e1:{e}:s", &start, Duration::from_secs(10)), async {
        linked.link.call(call(&ADD, "cl:e1:{e}:s", &["7", "sealed"])).await.unwrap();
    });
    let events = read.unwrap().0;
    assert!(matches!(&events[..], [Event { number: 7, sealed, .. }] if sealed == b"sealed"), "{events:?}");
    let after = &events[0].position;
    assert_eq!(linked.link.read("cl:e1:{e}:s", after, wait).await.unwrap().0, []);
    let added = linked.link.call_for_events(call(&ADD, "cl:e1:{e}:s", &["8", ""])).await.unwrap();
    assert!(matches!(added, Reply::Bytes(_)), "{added:?}");
    assert_eq!(linked.link.read("cl:e1:{e}:s", after, wait).await.unwrap().0.len(), 1);
    assert!(!linked.log.text().contains("WARN"), "{}", linked.log.text());
}

#[tokio::test]
async fn a_server_that_has_forgotten_a_script_gets_it_again() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    for _ in 0..3 {
        assert_eq!(linked.write("cl:1:{a}").await, written());
        store.send("SCRIPT FLUSH");
    }
    assert_eq!(linked.metric(r#"calls_total{script="write",outcome="Ok"}"#), 3.0);
}

#[tokio::test]
async fn an_error_of_a_script_is_logged_once_and_leaves_the_breaker_closed() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    for _ in 0..50 {
        assert_eq!(linked.link.call(call(&BROKEN, "cl:1:{a}", &["secret"])).await, Err(CallError::Script));
    }
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric(r#"calls_total{script="broken",outcome="ScriptError"}"#), 50.0);
    let log = linked.log.text();
    assert_eq!(log.matches("a script of the shared cache failed").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn a_start_that_cannot_work_names_its_setting() {
    let files = Pem::new();
    let plain = Store::start(&[]);
    let secured = Store::start(&["--requirepass", "right"]);
    let (_tls, tls_port) = files.server("yes");
    let cluster = Cluster::start();
    let tarpit = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let with_tls = |port, ca: &str, client: Option<&str>| {
        let client = client.map(|name| ClientFiles {
            certificate: files.path(&format!("{name}.pem")),
            key: files.path(&format!("{name}.key")),
        });
        let ca_file = Some(files.path(ca));
        Target { tls: Some(Tls { ca_file, client }), ..standalone(port) }
    };
    let password = |text: &str| {
        let password_file = files.path("password");
        std::fs::write(&password_file, text).unwrap();
        Auth::Password { username: None, password_file }
    };
    let wrong_password = password("wrong\n");
    let cases = [
        ("nothing listens", standalone(free_port()), "shared_cache.url"),
        (
            "no such host",
            target(Mode::Standalone(Address::Tcp { host: "no.such.host.invalid".to_owned(), port: 1 })),
            "shared_cache.url",
        ),
        ("tarpit", standalone(tarpit.local_addr().unwrap().port()), "shared_cache.connect_timeout"),
        ("no password", standalone(secured.port), "shared_cache.password_file"),
        (
            "wrong password",
            Target { auth: wrong_password.clone(), ..standalone(secured.port) },
            "shared_cache.password_file",
        ),
        (
            "needless password",
            Target { auth: wrong_password, ..standalone(plain.port) },
            "shared_cache.password_file",
        ),
        ("a cluster as one server", standalone(cluster.0[1].port), "shared_cache.mode"),
        ("one server as a cluster", target(Mode::Cluster(vec![tcp(plain.port)])), "shared_cache.mode"),
        (
            "TLS at a plain port",
            with_tls(plain.port, "ca.pem", None),
            "scheme and the port of shared_cache.url",
        ),
        ("no TLS at a TLS port", standalone(tls_port), "shared_cache.url"),
        ("unknown CA", with_tls(tls_port, "other_ca.pem", Some("client")), "shared_cache.ca_file"),
        ("no client certificate", with_tls(tls_port, "ca.pem", None), "shared_cache.certificate"),
        (
            "untrusted client certificate",
            with_tls(tls_port, "ca.pem", Some("stranger")),
            "shared_cache.certificate",
        ),
        ("no CA file", with_tls(tls_port, "none.pem", None), "shared_cache.ca_file"),
        ("key as certificate", with_tls(tls_port, "client.key", None), "shared_cache.ca_file"),
        (
            "no sentinel",
            target(Mode::Sentinel { addresses: vec![tcp(plain.port)], name: "main".to_owned() }),
            "sentinel",
        ),
    ];
    for (case, target, named) in cases {
        let linked = Linked::start(target);
        linked.logged("cannot connect to the shared cache").await;
        let log = linked.log.text();
        assert!(log.contains(named), "{case}: {log}");
        assert!(!linked.link.is_available(), "{case}");
        assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable), "{case}");
        assert_eq!(linked.metric("open"), 1.0, "{case}");
    }
}

#[tokio::test]
async fn a_link_connects_once_the_store_is_there() {
    let port = free_port();
    let linked = Linked::start(standalone(port));
    linked.logged("cannot connect to the shared cache").await;
    let _store = Store::start_on(port, &[]);
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric("open"), 0.0);
}

#[tokio::test]
async fn passwords_and_certificates_are_read_at_each_connect() {
    let files = Pem::new();
    let (store, port) = files.server("yes");
    store.send("CONFIG SET requirepass first");
    files.write("password", "first\n");
    let client = Some(ClientFiles { certificate: files.path("client.pem"), key: files.path("client.key") });
    let auth = Auth::Password { username: None, password_file: files.path("password") };
    let tls = Some(Tls { ca_file: Some(files.path("ca.pem")), client });
    let linked = Linked::connected(Target { auth, tls, ..standalone(port) }).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    // The server restarts with another CA, certificate and password.
    drop(store);
    linked.unavailable().await;
    files.renew();
    files.write("password", "second");
    let store = files.server_on(port, "yes");
    store.send("CONFIG SET requirepass second");
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn an_acl_user_with_the_documented_commands_is_enough() {
    let store = Store::start(&[]);
    let (folder, start) = (TempDir::new().unwrap(), StreamPosition("0-0".to_owned()));
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "secret").unwrap();
    let auth = Auth::Password { username: Some("cl".to_owned()), password_file };
    let user = |commands: &str| {
        let rules = format!("ACL SETUSER cl reset on >secret resetkeys ~cl:* resetchannels -@all {commands}");
        assert!(store.send(&rules).contains("OK"));
    };
    user(ACL_COMMANDS);
    let linked = Linked::connected(Target { auth: auth.clone(), ..standalone(store.port) }).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    linked.link.call_for_events(call(&ADD, "cl:e1:{e}:s", &["1", "x"])).await.unwrap();
    assert_eq!(linked.link.read("cl:e1:{e}:s", &start, Duration::from_millis(10)).await.unwrap().0.len(), 1);
    assert_eq!(linked.write("other:1:{a}").await, Err(CallError::Script), "a key of somebody else");
    drop(linked);
    user("+eval +evalsha");
    let linked = Linked::start(Target { auth, ..standalone(store.port) });
    linked.logged("cannot connect to the shared cache").await;
    assert!(!linked.link.is_available(), "{}", linked.log.text());
}

const ACL_COMMANDS: &str = "+eval +evalsha +script|load +hget +hmget +hset +hdel +del +pexpire +pttl +time \
    +incr +xadd +xread +xrevrange +zadd +zrange +zcard +zremrangebyscore +info +ping +hello +auth \
    +client|setinfo +client|setname";

#[tokio::test]
async fn after_a_demotion_the_link_finds_the_new_primary() {
    let (old, new) = (Store::start(&[]), Store::start(&[]));
    new.send(&format!("REPLICAOF 127.0.0.1 {}", old.port));
    new.wait_for("INFO replication", "master_link_status:up");
    // As a DNS name that leads to the primary.
    let name = Proxy::start(old.address()).await;
    let linked = Linked::connected(standalone(name.address.port())).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    new.send("REPLICAOF NO ONE");
    old.send(&format!("REPLICAOF 127.0.0.1 {}", new.port));
    // All sockets stay open, and the name still leads to the replica.
    linked.until("demoted", || linked.metric(r#"reconnects_total{reason="ReadOnly"}"#) > 0.0).await;
    linked.logged("the server is a replica").await;
    assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable), "and no flapping");
    let demoted = Instant::now();
    name.lead_to(new.address());
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert!(demoted.elapsed() < Duration::from_secs(10));
    assert!(new.send("HGET cl:1:{a} f").contains('x'));
    linked.link.call_for_events(call(&ADD, "cl:e1:{e}:s", &["1", "x"])).await.unwrap();
    assert!(new.send("EXISTS cl:e1:{e}:s").contains(":1"), "the events moved too");
}

#[tokio::test]
async fn a_half_open_connection_is_replaced() {
    let store = Store::start(&[]);
    let relay = Relay::start(store.address()).await;
    let linked = Linked::connected(standalone(relay.address.port())).await;
    let connections = relay.connections();
    relay.freeze();
    assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Timeout));
    linked.until("replaced", || relay.connections() > connections).await;
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    // The connection of the events, which no call has used, is found by its own reader.
    let start = StreamPosition("0-0".to_owned());
    assert_eq!(
        linked.link.read("cl:e1:{e}:s", &start, Duration::from_millis(10)).await,
        Err(CallError::Timeout)
    );
    linked.until("read", || linked.metric(r#"reconnects_total{reason="Timeouts"}"#) >= 2.0).await;
    let begun = Instant::now();
    while linked.link.read("cl:e1:{e}:s", &start, Duration::from_millis(10)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", linked.log.text());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_closes_none() {
    let store = Store::start(&["--timeout", "1"]);
    let linked = Linked::connected(standalone(store.port)).await;
    // Longer than the server allows. The reader of the events waits meanwhile, as it always does.
    for _ in 0..4 {
        let start = StreamPosition("0-0".to_owned());
        linked.link.read("cl:e1:{e}:s", &start, Duration::from_secs(1)).await.unwrap();
    }
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric(r#"reconnects_total{reason="Closed"}"#), 0.0, "{}", linked.log.text());
    // The control: a client without a heartbeat is closed.
    let mut idle = std::net::TcpStream::connect(store.address()).unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(io::Read::read(&mut idle, &mut [0; 8]).unwrap(), 0);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_without_any_call() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    for kind in ["normal", "normal"] {
        let before = linked.metric(r#"reconnects_total{reason="Closed"}"#);
        store.send(&format!("CLIENT KILL TYPE {kind}"));
        linked
            .until("closed", || linked.metric(r#"reconnects_total{reason="Closed"}"#) >= before + 2.0)
            .await;
        linked.available().await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
    }
}

#[tokio::test]
async fn a_frozen_server_costs_a_few_calls_their_time_limit() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    store.freeze();
    let mut results = Vec::new();
    while linked.link.is_available() {
        let bound = Duration::from_secs(10);
        results.push(timeout(bound, linked.write("cl:1:{a}")).await.expect("the call has a time limit"));
        assert!(results.len() <= 10);
    }
    assert!(results.iter().all(|result| *result == Err(CallError::Timeout)), "{results:?}");
    // While the breaker is open, nothing is sent.
    let sent = linked.metric(r#"calls_total{script="write",outcome="Timeout"}"#);
    for _ in 0..1000 {
        assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable));
    }
    assert_eq!(linked.metric(r#"calls_total{script="write",outcome="Timeout"}"#), sent);
    assert_eq!(linked.metric("open"), 1.0);
    store.thaw();
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric("open"), 0.0);
}

#[tokio::test]
async fn cancelled_calls_leave_the_breaker_closed() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    store.freeze();
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(1), linked.write("cl:1:{a}")).await.is_err());
    }
    store.thaw();
    assert!(linked.link.is_available(), "{}", linked.log.text());
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn a_full_server_is_not_used_until_it_has_room() {
    let store = Store::start(&["--maxmemory-policy", "noeviction"]);
    let linked = Linked::connected(standalone(store.port)).await;
    store.send("CONFIG SET maxmemory 1");
    linked.unavailable().await;
    linked.logged("the server is full").await;
    sleep(Duration::from_millis(1500)).await;
    assert!(!linked.link.is_available(), "probes that only read would have closed the breaker");
    store.send("CONFIG SET maxmemory 0");
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let store = Store::start(&[]);
    let linked = Linked::connected(standalone(store.port)).await;
    store.freeze();
    let mut calls = JoinSet::new();
    for _ in 0..1100 {
        let link = Arc::clone(&linked.link);
        calls.spawn(async move { link.call(call(&WRITE, "cl:1:{a}", &["x"])).await });
    }
    let results = calls.join_all().await;
    store.thaw();
    let refused = results.iter().filter(|result| **result == Err(CallError::Unavailable)).count();
    let timed_out = results.iter().filter(|result| **result == Err(CallError::Timeout)).count();
    assert_eq!((refused, timed_out), (76, 1024));
}

/// Passes connections on to one server after another.
struct Proxy {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(server)));
        let (mut serving, now) = (JoinSet::new(), Arc::clone(&server));
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let server = *now.lock().unwrap();
                open.spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut server).await);
                });
            }
        });
        Self { address, server, _serving: serving }
    }

    fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
    }
}

/// Certificate files.
struct Pem(TempDir);

impl Pem {
    fn new() -> Self {
        let (pem, other) = (Self(TempDir::new().unwrap()), Authority::new("other"));
        pem.renew();
        pem.write("other_ca.pem", &other.pem);
        pem.write_identity("stranger", &other.client("stranger"));
        pem
    }

    /// Writes another CA with certificates of it.
    fn renew(&self) {
        let ours = Authority::new("ours");
        self.write("ca.pem", &ours.pem);
        self.write_identity("server", &ours.server());
        self.write_identity("client", &ours.client("replica"));
    }

    /// Starts a server with TLS, which asks clients for certificates or not.
    fn server(&self, client_certificates: &str) -> (Store, u16) {
        let port = free_port();
        (self.server_on(port, client_certificates), port)
    }

    fn server_on(&self, tls_port: u16, client_certificates: &str) -> Store {
        let [certificate, key, ca] =
            ["server.pem", "server.key", "ca.pem"].map(|name| self.path(name).display().to_string());
        let settings = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
        let settings = [&settings[..], &["--tls-auth-clients", client_certificates]].concat();
        Store::start_with_tls(tls_port, &settings)
    }

    fn write_identity(&self, name: &str, identity: &Identity) {
        self.write(&format!("{name}.pem"), &identity.certificate);
        self.write(&format!("{name}.key"), &identity.key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}
