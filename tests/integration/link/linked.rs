use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use cognito_lookup::{
    outgoing::Outgoing,
    shared_cache::{
        Address, Auth, Call, CallError, Events, Link, Mode, Reply, Script, StreamPosition, Target,
        Transport as _,
    },
    telemetry::metrics::Metrics,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tracing::{Level, subscriber::DefaultGuard};

/// A link with its metrics and its log.
pub(super) struct Linked {
    pub(super) link: Arc<Link>,
    pub(super) log: Log,
    metrics: Metrics,
    _guard: DefaultGuard,
}

impl Linked {
    /// Starts a link. The test must have one thread, which runs all tasks, or the log lacks lines.
    pub(super) fn start(target: Target) -> Self {
        let (log, metrics) = (Log::default(), Metrics::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let link = Link::start(target, &metrics.shared_cache, &Outgoing::default());
        Self { link, log, metrics, _guard: guard }
    }

    /// Starts a link and waits until it is available.
    pub(super) async fn connected(target: Target) -> Self {
        let linked = Self::start(target);
        linked.available().await;
        linked
    }

    pub(super) async fn available(&self) {
        self.until("available", || self.link.is_available()).await;
    }

    pub(super) async fn unavailable(&self) {
        self.until("unavailable", || !self.link.is_available()).await;
    }

    pub(super) async fn logged(&self, text: &str) {
        self.until(text, || self.log.text().contains(text)).await;
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "not {what}:\n{}", self.log.text());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn write(&self, key: &str) -> Result<Reply, CallError> {
        self.link.call(call(&WRITE, key, &["x"])).await
    }

    /// Waits until a call succeeds.
    pub(super) async fn writes_again(&self, key: &str) {
        let begun = Instant::now();
        while self.write(key).await != written() {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log.text());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Appends an event on the connection of the commands.
    pub(super) async fn publish(&self, number: &str) -> Result<Reply, CallError> {
        self.link.call(call(&ADD, STREAM, &[number, "sealed"])).await
    }

    /// Appends an event on the connection of the events.
    pub(super) async fn publish_on_events(&self, number: &str) -> Result<Reply, CallError> {
        self.link.call_for_events(call(&ADD, STREAM, &[number, "sealed"])).await
    }

    /// Reads the stream from its start.
    pub(super) async fn read(&self, wait: Duration) -> Result<Events, CallError> {
        self.link.read(STREAM, &StreamPosition("0-0".to_owned()), wait).await
    }

    /// Waits until a read succeeds.
    pub(super) async fn reads_again(&self) {
        let begun = Instant::now();
        while self.read(Duration::from_millis(10)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "{}", self.log.text());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the value of a metric, by the rest of its name and its labels.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.text();
        let prefix = format!("cognito_lookup_shared_cache_{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub(super) fn reconnects(&self, reason: &str) -> f64 {
        self.metric(&format!("reconnects_total{{reason=\"{reason}\"}}"))
    }
}

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(super) fn text(&self) -> String {
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

pub(super) fn call(script: &'static Script, key: &str, args: &[&str]) -> Call {
    let args = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    Call { script, keys: vec![key.to_owned()], args }
}

/// What a write returns.
pub(super) fn written() -> Result<Reply, CallError> {
    Ok(Reply::Array(vec![Reply::Int(1), Reply::Bytes(b"x".to_vec()), Reply::Nil]))
}

pub(super) fn tcp(port: u16) -> Address {
    Address::Tcp { host: "localhost".to_owned(), port }
}

pub(super) fn standalone(port: u16) -> Target {
    target(Mode::Standalone(tcp(port)))
}

pub(super) fn target(mode: Mode) -> Target {
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

/// A password, and the folder of its file.
pub(super) fn password(username: Option<&str>, text: &str) -> (Auth, TempDir) {
    let folder = TempDir::new().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, text).unwrap();
    (Auth::Password { username: username.map(ToOwned::to_owned), password_file }, folder)
}

pub(super) const STREAM: &str = "cl:e1:{e}:s";
pub(super) static WRITE: Script =
    Script { name: "write", source: "redis.call('HSET', KEYS[1], 'f', ARGV[1]) return {1, ARGV[1], false}" };
static ADD: Script =
    Script { name: "add", source: "return redis.call('XADD', KEYS[1], '*', 'n', ARGV[1], 'e', ARGV[2])" };
const PATIENCE: Duration = Duration::from_secs(30);
