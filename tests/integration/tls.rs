use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use cognito_lookup::{
    config::{CallerSettings, ClientCertificate, Config, TlsSettings},
    proto::{
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        user_service_client::UserServiceClient,
    },
    server::Server,
};
use rustls::{ClientConfig, version};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::support::{
    ADA, App, about,
    certificates::{Authority, Files, Identity, client_config, client_config_of},
    standin,
    tls_client::{connect, handshake},
};

#[tokio::test]
async fn calls_are_served_over_tls_only() {
    let authority = Authority::new("servers");
    let app = serving(&Files::new(&authority.server(), &authority), ClientCertificate::Off).await;
    for version in [&version::TLS12, &version::TLS13] {
        let stream = handshake(app.address, client_config_of(&[version], &[&authority], None)).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
    }
    let channel = connect(app.address, client_config(&[&authority], None)).await.unwrap();
    assert!(UserServiceClient::new(channel).get_user(about(ADA)).await.is_ok());
    let mut old = client_config(&[&authority], None);
    old.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(handshake(app.address, old).await.is_err(), "a client that speaks no HTTP/2");
    let stranger = client_config(&[&Authority::new("others")], None);
    assert!(handshake(app.address, stranger).await.is_err(), "a client that does not trust the server");
    assert!(app.get_by_sub(ADA).await.is_err(), "a client that does not encrypt");
}

#[tokio::test]
async fn client_certificates_are_requested_as_configured() {
    use ClientCertificate::{Off, Optional, Required};
    let (servers, clients, others) = (Authority::new("servers"), Authority::new("c"), Authority::new("o"));
    let files = Files::new(&servers.server(), &clients);
    let identities = [
        ("none", None, [true, true, false]),
        ("a good one", Some(clients.client("billing")), [true, true, true]),
        ("another authority's", Some(others.client("billing")), [true, false, false]),
        ("a server's", Some(clients.server()), [true, false, false]),
        ("one that has expired", Some(clients.expired()), [true, false, false]),
        ("one it signed itself", Some(Authority::new("billing").client("billing")), [true, false, false]),
    ];
    for (n, asked) in [Off, Optional, Required].into_iter().enumerate() {
        let app = serving(&files, asked).await;
        for (case, identity, expected) in &identities {
            let accepted = accepts_calls(app.address, client_config(&[&servers], identity.as_ref())).await;
            assert_eq!(accepted, expected[n], "{asked:?}, {case}");
        }
    }
}

/// Four backends call without pause, over open connections and over new ones.
#[tokio::test(flavor = "multi_thread")]
async fn rotating_all_files_under_load_fails_no_call() {
    let (servers, new_servers) = (Authority::new("servers"), Authority::new("new servers"));
    let (clients, new_clients) = (Authority::new("clients"), Authority::new("new clients"));
    let files = Files::new(&servers.server(), &clients);
    let app = serving(&files, ClientCertificate::Required).await;
    let old = client_config(&[&servers], Some(&clients.client("billing")));
    let new = client_config(&[&new_servers], Some(&new_clients.client("billing")));
    let presenting =
        |client: &Authority| client_config(&[&servers, &new_servers], Some(&client.client("billing")));
    let load = Load::start(app.address, presenting(&clients));

    for _ in 0..3 {
        let loaded = app.metric(LOADED).await;
        files.write(&servers.server());
        app.wait_for_metric(LOADED, |now| now > loaded).await;
    }
    let loaded = app.metric(LOADED).await;
    files.write_client_ca(&format!("{}{}", clients.pem, new_clients.pem));
    app.wait_for_metric(LOADED, |now| now > loaded).await;
    load.present(presenting(&new_clients));
    load.another_round().await;
    let loaded = app.metric(LOADED).await;
    files.write(&new_servers.server());
    files.write_client_ca(&new_clients.pem);
    app.wait_for_metric(LOADED, |now| now > loaded).await;
    load.another_round().await;

    load.end().await;
    assert!(accepts_calls(app.address, new).await);
    assert!(!accepts_calls(app.address, old).await, "the old authority is not trusted any more");
}

#[tokio::test]
async fn an_invalid_file_keeps_the_files_in_use() {
    let authority = Authority::new("servers");
    let (first, second) = (authority.server(), authority.server());
    let (expired, early) = (authority.expired_server(), authority.server_within(3000, 3001));
    let files = Files::new(&first, &authority);
    let app = serving(&files, ClientCertificate::Required).await;
    let client = || client_config(&[&authority], Some(&authority.client("billing")));
    let mut failures = 0.0;
    type Spoil<'a> = (&'a str, &'a dyn Fn());
    let cases: &[Spoil<'_>] = &[
        ("no certificate", &|| fs::write(files.path("server.pem"), "nothing").unwrap()),
        ("another's key", &|| fs::write(files.path("server.key"), &second.key).unwrap()),
        ("no key", &|| fs::write(files.path("server.key"), "").unwrap()),
        ("no file", &|| fs::remove_file(files.path("server.pem")).unwrap()),
        ("one that has expired", &|| files.write(&expired)),
        ("one that is not good yet", &|| files.write(&early)),
        ("no authority", &|| files.write_client_ca("")),
        ("an authority cut short", &|| files.write_client_ca(&authority.pem[..200])),
    ];
    for (case, spoil) in cases {
        let loaded = app.metric(LOADED).await;
        spoil();
        failures += 1.0;
        app.wait_for_metric(FAILURES, |now| now >= failures).await;
        assert_eq!(served_certificate(app.address, client()).await, first.der(), "{case}");
        assert!(accepts_calls(app.address, client()).await, "{case}");
        files.write(&first);
        files.write_client_ca(&authority.pem);
        app.wait_for_metric(LOADED, |now| now > loaded).await;
    }
    assert_eq!(app.metric(FAILURES).await as usize, cases.len(), "each failure is counted once");
    let loaded = app.metric(LOADED).await;
    files.write(&second);
    app.wait_for_metric(LOADED, |now| now > loaded).await;
    assert_eq!(served_certificate(app.address, client()).await, second.der());
}

#[tokio::test]
async fn the_expiry_of_the_certificate_is_a_metric() {
    assert_eq!(App::start().await.metric(EXPIRY).await, 0.0, "without TLS");
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server_within(2020, 2100), &authority);
    let app = serving(&files, ClientCertificate::Off).await;
    assert_eq!(app.metric(EXPIRY).await, YEAR_2100);
    files.write(&authority.server_within(2020, 2110));
    app.wait_for_metric(EXPIRY, |now| now == YEAR_2110).await;
    files.write(&authority.expired_server());
    app.wait_for_metric(FAILURES, |now| now == 1.0).await;
    assert_eq!(app.metric(EXPIRY).await, YEAR_2110, "the old one is served_certificate");
}

/// In a Kubernetes volume each file is a link into `..data`, a link that an update replaces.
#[tokio::test]
async fn a_swapped_symlink_is_reloaded() {
    let authority = Authority::new("servers");
    let (first, second) = (authority.server(), authority.server());
    let volume = Files::new(&first, &authority);
    for (name, identity) in [("..1", &first), ("..2", &second)] {
        fs::create_dir(volume.path(name)).unwrap();
        fs::write(volume.path(name).join("server.pem"), &identity.certificate).unwrap();
        fs::write(volume.path(name).join("server.key"), &identity.key).unwrap();
    }
    symlink("..1", volume.path("..data")).unwrap();
    for name in ["server.pem", "server.key"] {
        fs::remove_file(volume.path(name)).unwrap();
        symlink(format!("..data/{name}"), volume.path(name)).unwrap();
    }
    let app = serving(&volume, ClientCertificate::Off).await;
    assert_eq!(served_certificate(app.address, client_config(&[&authority], None)).await, first.der());
    let loaded = app.metric(LOADED).await;
    symlink("..2", volume.path("..new")).unwrap();
    fs::rename(volume.path("..new"), volume.path("..data")).unwrap();
    app.wait_for_metric(LOADED, |now| now > loaded).await;
    assert_eq!(served_certificate(app.address, client_config(&[&authority], None)).await, second.der());
}

#[test]
fn invalid_settings_are_named() {
    let authority = Authority::new("servers");
    let (one, other) = (authority.server(), authority.server());
    let files = Files::new(&one, &authority);
    fs::write(files.path("other.key"), other.key).unwrap();
    for (name, from, until) in [("late", 2020, 2021), ("early", 3000, 3001)] {
        let Identity { certificate, key } = authority.server_within(from, until);
        fs::write(files.path(name), certificate + &key).unwrap();
    }
    fs::write(files.path("empty"), "").unwrap();
    let digits = |text: &str| text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let secret = one.key.lines().nth(1).unwrap();
    fs::write(files.path("spaces"), one.key.replace('\n', " ")).unwrap();
    fs::write(files.path("escapes"), one.key.replace('\n', "\\n")).unwrap();
    let name = |name: &str| Some(files.path(name).to_str().unwrap().to_owned());
    let good = || {
        let mut config = Config::default();
        files.set(ClientCertificate::Required)(&mut config);
        config.tls
    };
    let both = |file| TlsSettings { certificate: name(file), key: name(file), ..good() };
    let none = TlsSettings::default;
    let table: &[(&str, TlsSettings, &[&str])] = &[
        ("all is well", good(), &[]),
        ("nothing is set", none(), &[]),
        ("no key", TlsSettings { key: None, ..good() }, &["tls.key: must be set if tls.certificate is set"]),
        ("no certificate", TlsSettings { certificate: None, ..good() }, &["tls.certificate: must be set"]),
        ("no file", TlsSettings { key: name("gone"), ..good() }, &["tls.key: ", "gone: No such file"]),
        (
            "no files",
            TlsSettings { client_ca: name("gone"), ..both("gone") },
            &["tls.certificate: ", "tls.client_ca: ", "tls.key: "],
        ),
        ("no PEM", TlsSettings { certificate: name("empty"), ..good() }, &["tls.certificate: contains no"]),
        (
            "no key in it",
            TlsSettings { key: name("server.pem"), ..good() },
            &["tls.key: contains no private key"],
        ),
        (
            "a key on one line",
            TlsSettings { key: name("spaces"), ..good() },
            &["tls.key: contains no private key"],
        ),
        (
            "a key in one word",
            TlsSettings { key: name("escapes"), ..good() },
            &["tls.key: contains no private key"],
        ),
        (
            "a device",
            TlsSettings { key: Some("/dev/zero".into()), ..good() },
            &["tls.key: /dev/zero: is not a file"],
        ),
        (
            "another's",
            TlsSettings { key: name("other.key"), ..good() },
            &["tls.key: does not match tls.certificate"],
        ),
        (
            "one that has expired",
            both("late"),
            &["tls.certificate: is not valid after 2021-01-01T00:00:00Z by this machine's clock"],
        ),
        (
            "one that is not good yet",
            both("early"),
            &["tls.certificate: is not valid before 3000-01-01T00:00:00Z by this machine's clock"],
        ),
        (
            "all wrong",
            TlsSettings {
                certificate: name("late"),
                key: name("other.key"),
                client_ca: name("empty"),
                ..good()
            },
            &[
                "tls.certificate: is not valid after",
                "tls.client_ca: contains no certificate",
                "tls.key: does not match",
            ],
        ),
        (
            "one cannot be read and others are wrong",
            TlsSettings { certificate: name("gone"), key: name("empty"), client_ca: name("empty"), ..good() },
            &[
                "gone: No such file",
                "tls.client_ca: contains no certificate",
                "tls.key: contains no private key",
            ],
        ),
        (
            "no authority",
            TlsSettings { client_ca: None, ..good() },
            &["tls.client_ca: must be set to verify"],
        ),
        (
            "an authority for nothing",
            TlsSettings { client_certificate: ClientCertificate::Off, ..good() },
            &["tls.client_certificate: must be \"required\" or \"optional\""],
        ),
        (
            "client certificates in the clear",
            TlsSettings { client_ca: name("clients.pem"), ..none() },
            &["tls.certificate: must be set", "tls.client_certificate: must be"],
        ),
    ];
    let cognito = standin();
    for (case, tls, expected) in table {
        let config = Config { tls: tls.clone(), ..crate::support::config(&cognito) };
        let said = Server::read(config).err().map(|errors| errors.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), expected.is_empty(), "{case}: {said}");
        assert!(expected.iter().all(|text| said.contains(text)), "{case}: {said}");
        for shown in ["PRIVATE", secret, &digits("PRIVATE"), &digits(secret)] {
            assert!(!said.contains(shown), "{case}: {said}");
        }
    }
}

async fn serving(files: &Files, asked: ClientCertificate) -> App {
    let set = files.set(asked);
    let app = App::start_unready(standin(), |config| {
        set(config);
        config.tls.check_every = CHECK;
        if asked != ClientCertificate::Off {
            let rule = config.callers[1].clone();
            let certificate = Some("billing".into());
            config.callers.push(CallerSettings {
                name: "billing".into(),
                network: vec![],
                certificate,
                ..rule
            });
        }
    })
    .await;
    app.wait_until_ready().await;
    app
}

/// Returns whether a call succeeds. With TLS 1.3, a client learns only then that its certificate
/// was refused.
async fn accepts_calls(address: SocketAddr, config: ClientConfig) -> bool {
    let Ok(channel) = connect(address, config).await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

/// Returns the certificate that the server presents to a new connection.
async fn served_certificate(address: SocketAddr, config: ClientConfig) -> Vec<u8> {
    let stream = handshake(address, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Backends that connect, call and reconnect without pause. A failed call fails the test.
struct Load {
    config: watch::Sender<ClientConfig>,
    rounds: Arc<AtomicUsize>,
    backends: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr, config: ClientConfig) -> Self {
        let (config, rounds, mut backends) =
            (watch::Sender::new(config), Arc::<AtomicUsize>::default(), JoinSet::new());
        for _ in 0..BACKENDS {
            let (config, rounds) = (config.subscribe(), Arc::clone(&rounds));
            backends.spawn(async move {
                while config.has_changed().is_ok() {
                    let presented = config.borrow().clone();
                    let mut users = UserServiceClient::new(connect(address, presented).await.unwrap());
                    for _ in 0..10 {
                        users.get_user(about(ADA)).await.unwrap();
                    }
                    rounds.fetch_add(1, SeqCst);
                }
            });
        }
        Self { config, rounds, backends }
    }

    fn present(&self, config: ClientConfig) {
        self.config.send_replace(config);
    }

    /// Waits until every backend has started and ended a round after this moment.
    async fn another_round(&self) {
        let before = self.rounds.load(SeqCst);
        // A backend may still be in an earlier round, and one may be many rounds ahead.
        for _ in 0..10_000 {
            if self.rounds.load(SeqCst) >= before + 10 * BACKENDS {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("the backends make no progress");
    }

    async fn end(mut self) {
        assert!(self.rounds.load(SeqCst) > 0);
        drop(self.config);
        while let Some(ended) = self.backends.join_next().await {
            ended.expect("no call fails");
        }
    }
}

const LOADED: &str = "cognito_lookup_tls_loaded_timestamp_seconds";
const EXPIRY: &str = "cognito_lookup_tls_certificate_expiry_timestamp_seconds";
const FAILURES: &str = "cognito_lookup_tls_reload_failures_total";
const YEAR_2100: f64 = 4_102_444_800.0;
const YEAR_2110: f64 = 4_417_977_600.0;
const BACKENDS: usize = 4;
const CHECK: Duration = Duration::from_millis(100);
