use std::fs;

use cognito_lookup::shared_cache::{
    Address, Auth, CallError, ClientFiles, Mode, Target, Tls, Transport as _,
};

use super::linked::{Linked, password, standalone, target, tcp, written};
use crate::{
    store::{
        cluster::Cluster,
        server::{Engine, Mode as ServerMode, Server, free_address, tls_settings},
    },
    support::certificates::{Authority, Files, Identity},
};

/// A server with TLS that requires a certificate of its clients, and what clients need.
struct Secured {
    files: Files,
    server: Server,
}

impl Secured {
    async fn start() -> Self {
        let ours = Authority::new("ours");
        let files = Files::new(&ours.server(), &ours);
        let secured = Self { server: Self::serve(&files).await, files };
        let other = Authority::new("other");
        secured.write("other_ca.pem", &other.pem);
        secured.write_identity("stranger", &other.client("stranger"));
        secured.write_identity("client", &ours.client("replica"));
        secured
    }

    async fn serve(files: &Files) -> Server {
        Server::start_with(Engine::Redis, ServerMode::Tls, &tls_settings(files, true)).await
    }

    /// Replaces the CA and all certificates of it.
    fn renew(&self) {
        let ours = Authority::new("new");
        self.files.write(&ours.server());
        self.files.write_client_ca(&ours.pem);
        self.write_identity("client", &ours.client("replica"));
    }

    /// Returns what trusts a CA and presents a certificate, by the names of their files.
    fn tls(&self, ca: &str, client: Option<&str>) -> Option<Tls> {
        let path = |name: String| self.files.path(&name);
        let client = client.map(|name| ClientFiles {
            certificate: path(format!("{name}.pem")),
            key: path(format!("{name}.key")),
        });
        Some(Tls { ca_file: Some(path(ca.to_owned())), client })
    }

    fn write_identity(&self, name: &str, Identity { certificate, key }: &Identity) {
        self.write(&format!("{name}.pem"), certificate);
        self.write(&format!("{name}.key"), key);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path(name), text).unwrap();
    }

    fn port(&self) -> u16 {
        self.server.address.port()
    }
}

#[tokio::test]
async fn a_start_that_cannot_work_names_its_setting() {
    let plain = Server::start(Engine::Redis).await;
    let protected = Server::start_with(Engine::Redis, ServerMode::Plain, "requirepass right").await;
    let secured = Secured::start().await;
    let cluster = Cluster::start(Engine::Valkey).await;
    let node = cluster.nodes[1].address.port();
    let tarpit = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tarpit_port = tarpit.local_addr().unwrap().port();
    let (wrong, _folder) = password(None, "wrong\n");
    let nowhere = Address::Tcp { host: "no.such.host.invalid".to_owned(), port: 1 };
    let no_sentinel = Mode::Sentinel { addresses: vec![tcp(plain.address.port())], name: "main".to_owned() };
    let protected_by = |auth| Target { auth, ..standalone(protected.address.port()) };
    let with_tls = |port, ca, client| Target { tls: secured.tls(ca, client), ..standalone(port) };
    let (ca, tls_port, plain_port) = ("clients.pem", secured.port(), plain.address.port());
    let cases = [
        ("nothing listens", standalone(free_address().port()), "shared_cache.url"),
        ("no such host", target(Mode::Standalone(nowhere)), "shared_cache.url"),
        ("tarpit", standalone(tarpit_port), "shared_cache.connect_timeout"),
        ("no password", protected_by(Auth::None), "shared_cache.password_file"),
        ("wrong password", protected_by(wrong.clone()), "shared_cache.password_file"),
        ("needless password", Target { auth: wrong, ..standalone(plain_port) }, "shared_cache.password_file"),
        ("a cluster as one server", standalone(node), "set shared_cache.mode to cluster"),
        (
            "one server as a cluster",
            target(Mode::Cluster(vec![tcp(plain_port)])),
            "set shared_cache.mode to standalone",
        ),
        ("no sentinel", target(no_sentinel), "sentinel localhost"),
        (
            "TLS at a plain port",
            with_tls(plain_port, ca, None),
            "the scheme and the port of shared_cache.url",
        ),
        ("no TLS at a TLS port", standalone(tls_port), "shared_cache.url must begin with rediss://"),
        ("unknown CA", with_tls(tls_port, "other_ca.pem", Some("client")), "shared_cache.ca_file"),
        ("no certificate", with_tls(tls_port, ca, None), "shared_cache.certificate"),
        ("untrusted certificate", with_tls(tls_port, ca, Some("stranger")), "shared_cache.certificate"),
        ("no CA file", with_tls(tls_port, "none.pem", None), "shared_cache.ca_file"),
        ("a key as CA file", with_tls(tls_port, "client.key", None), "shared_cache.ca_file"),
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
    // The control: the same servers with the right settings.
    let (right, _folder) = password(None, "right");
    for target in [protected_by(right), with_tls(tls_port, ca, Some("client")), standalone(plain_port)] {
        let linked = Linked::connected(target).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
    }
}

#[tokio::test]
async fn a_link_connects_once_the_server_is_there() {
    let mut server = Server::start(Engine::Valkey).await;
    server.kill();
    let linked = Linked::start(standalone(server.address.port()));
    linked.logged("cannot connect to the shared cache").await;
    server.restart().await;
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.metric("open"), 0.0);
}

#[tokio::test]
async fn passwords_and_certificates_are_read_at_each_connect() {
    let mut secured = Secured::start().await;
    let set = async |server: &Server, text: &str| {
        server.client().await.text(&format!("CONFIG SET requirepass {text}")).await;
    };
    set(&secured.server, "first").await;
    secured.write("password", "first\n");
    let auth = Auth::Password { username: None, password_file: secured.files.path("password") };
    let tls = secured.tls("clients.pem", Some("client"));
    let linked = Linked::connected(Target { tls, auth, ..standalone(secured.port()) }).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    // The server restarts with another CA, certificate and password.
    secured.server.kill();
    linked.unavailable().await;
    secured.renew();
    secured.write("password", "second");
    secured.server.restart().await;
    set(&secured.server, "second").await;
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn a_password_that_changes_while_connected_costs_nothing() {
    let server = Server::start_with(Engine::Valkey, ServerMode::Plain, "requirepass first").await;
    let (auth, folder) = password(None, "first");
    let linked = Linked::connected(Target { auth, ..standalone(server.address.port()) }).await;
    let mut client = server.client().await;
    client.text("AUTH first").await;
    client.text("CONFIG SET requirepass second").await;
    fs::write(folder.path().join("password"), "second").unwrap();
    // Connections that are authenticated stay so. The next one has the new password.
    assert_eq!(linked.write("cl:1:{a}").await, written());
    client.command("CLIENT KILL TYPE normal").await.unwrap();
    linked.until("closed", || linked.reconnects("Closed") > 0.0).await;
    // That may have been the connection of the events: then this one closes a little later.
    linked.writes_again("cl:1:{a}").await;
    assert!(!linked.log.text().contains("credentials"), "{}", linked.log.text());
}
