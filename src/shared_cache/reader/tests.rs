use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::{
    config::Sources,
    shared_cache::{Address, Auth, Iam, Mode, fixtures::secret},
};

/// A folder with the files `index`, `one`, `two`, `password`, `pem` and `key`.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        for name in ["index", "one", "two"] {
            files.write(name, &secret(name));
        }
        files.write("short", "0123456789abcdef");
        files.write("password", "secret\n");
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        files.write("pem", &certificate.pem());
        files.write("key", &key.serialize_pem());
        files
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Loads settings, a line each. `%` stands for the folder.
    fn load(&self, lines: &str) -> Config {
        let folder = format!("{}/", self.0.path().display());
        let lines = lines.lines().filter_map(|line| line.trim().split_once(" = "));
        let environment = lines.map(|(key, value)| {
            let name = key.to_uppercase().replace('.', "__");
            (format!("COGNITO_LOOKUP_SHARED_CACHE__{name}").into(), value.replace('%', &folder).into())
        });
        Config::load(Sources { environment: environment.collect(), ..Sources::default() }).unwrap()
    }

    fn read(&self, lines: &str) -> (Option<SharedCacheConfig>, Vec<String>) {
        let config = self.load(lines);
        let mut errors = ErrorCollector::new(&config);
        let read = SharedCacheConfig::read(&config, &mut errors);
        let folder = format!("{}/", self.0.path().display());
        let errors = errors.into_errors().into_iter().map(|error| error.to_string().replace(&folder, "%"));
        (read, errors.collect())
    }
}

const KEYS: &str = "index_key_file = %index\nvalue_key_files = %one,%two\n";

#[test]
fn without_settings_nothing_is_shared() {
    let files = Files::new();
    for harmless in ["", "timeout = 20ms\nconnect_timeout = 1s\nnamespace = b\nreplicas_at_most = 3"] {
        let (config, errors) = files.read(harmless);
        assert!(config.is_none() && errors.is_empty(), "{errors:?}");
    }
    for useless in [
        KEYS,
        "mode = cluster",
        "sentinel_name = main",
        "username = ada",
        "password_file = %password",
        "ca_file = %pem",
        "certificate = %pem",
        "key = %key",
        "iam.serverless = true",
        "iam.region = eu-west-1",
    ] {
        let expected = "shared_cache.url: must be set to use the other shared_cache settings (not set)";
        assert_eq!(files.read(useless).1, [expected], "{useless}");
    }
}

#[test]
fn every_way_to_reach_a_store_can_be_set() {
    let files = Files::new();
    let tls = "ca_file = %pem\ncertificate = %pem\nkey = %key";
    for (lines, expected) in [
        ("url = redis://127.0.0.1:6379", "Standalone(127.0.0.1:6379) plain None"),
        ("url = unix:/run/valkey.sock", "Standalone(/run/valkey.sock) plain None"),
        ("url = rediss://cache.example:6380", "Standalone(cache.example:6380) tls None"),
        (
            "url = rediss://cache.example\nusername = ada\npassword_file = %password",
            "Standalone(cache.example:6379) tls Password(Some(\"ada\"))",
        ),
        ("url = redis://[::1]\npassword_file = %password", "Standalone([::1]:6379) plain Password(None)"),
        (
            &format!("url = rediss://cache.example\n{tls}"),
            "Standalone(cache.example:6379) tls+ca+client None",
        ),
        ("url = rediss://c.example\nmode = cluster", "Cluster(c.example:6379) tls None"),
        (
            "urls = rediss://a.example,rediss://b.example:7\nmode = cluster",
            "Cluster(a.example:6379 b.example:7) tls None",
        ),
        (
            "urls = redis://127.0.0.1,redis://127.0.0.1:26380\nmode = sentinel\nsentinel_name = main",
            "Sentinel(main: 127.0.0.1:26379 127.0.0.1:26380) plain None",
        ),
        (
            "url = rediss://c.example\nmode = cluster\niam.cache = c-1\niam.user = lookup\niam.serverless = true",
            "Cluster(c.example:6379) tls Iam(c-1 lookup true None)",
        ),
    ] {
        let (config, errors) = files.read(&format!("{KEYS}{lines}"));
        assert_eq!(errors, [""; 0], "{lines}");
        let config = config.unwrap();
        assert_eq!(shown(&config.target), expected, "{lines}");
        assert_eq!(config.warnings(), [], "{lines}");
    }
}

fn shown(target: &Target) -> String {
    let join =
        |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let addresses = join(target.mode.addresses());
    let mode = match &target.mode {
        Mode::Standalone(_) => format!("Standalone({addresses})"),
        Mode::Sentinel { name, .. } => format!("Sentinel({name}: {addresses})"),
        Mode::Cluster(_) => format!("Cluster({addresses})"),
    };
    let tls = target.tls.as_ref().map_or_else(
        || "plain".to_owned(),
        |tls| {
            let part = |is_set: bool, name| if is_set { name } else { "" };
            format!("tls{}{}", part(tls.ca_file.is_some(), "+ca"), part(tls.client.is_some(), "+client"))
        },
    );
    let auth = match &target.auth {
        Auth::None => "None".to_owned(),
        Auth::Password { username, .. } => format!("Password({username:?})"),
        Auth::Iam(Iam { cache, user, serverless, region }) => {
            format!("Iam({cache} {user} {serverless} {region:?})")
        }
    };
    format!("{mode} {tls} {auth}")
}

#[test]
fn defaults_and_bounds_are_those_of_the_documentation() {
    let files = Files::new();
    let (config, _) = files.read(&format!("{KEYS}url = redis://localhost"));
    let SharedCacheConfig { target, namespace, rate_limit, .. } = config.unwrap();
    // The replicas share the rate limit.
    assert_eq!(rate_limit.map(|sharing| sharing.replicas_at_most), Some(8));
    let millis = Duration::from_millis;
    assert_eq!((target.timeout, target.connect_timeout), (millis(50), millis(500)));
    assert_eq!((namespace.as_str(), target.namespace.as_str()), ("cl", "cl"));
    for (line, bounds) in [
        ("timeout = 4ms", "expected 5ms to 1s"),
        ("timeout = 1001ms", "expected 5ms to 1s"),
        ("connect_timeout = 49ms", "expected 50ms to 10s"),
        ("connect_timeout = 11s", "expected 50ms to 10s"),
        ("replicas_at_most = 0", "expected 1 to 1000"),
        ("namespace = Prod", "is not a namespace; expected 1 to 16 characters of [a-z0-9-]"),
        ("mode = clustered", "expected one of `standalone`, `sentinel`, `cluster`"),
    ] {
        let (_, errors) = files.read(&format!("{KEYS}url = redis://localhost\n{line}"));
        assert!(errors.len() == 1 && errors[0].contains(bounds), "{line}: {errors:?}");
    }
}

#[test]
fn every_mistake_about_the_servers_is_named() {
    assert_mistakes(&[
        ("url = redis://:secret@cache.example\n", &["url: must not hold a user name or password"]),
        ("url = cache.example:6379\n", &["url: is not the URL of a server; expected rediss://HOST:PORT"]),
        ("url = redis://localhost/1\n", &["url: must end after the port"]),
        ("url = redis://localhost\nurls = redis://localhost\n", &["urls: is in place of shared_cache.url"]),
        ("urls = redis://localhost\n", &["urls: needs shared_cache.mode = \"cluster\" or \"sentinel\""]),
        (
            "urls = redis://localhost,x,unix:/y\nmode = cluster\n",
            &[
                "urls[1]: is not the URL",
                "urls[2]: is a Unix socket, which needs shared_cache.mode = \"standalone\"",
            ],
        ),
        ("urls = redis://[::1],rediss://[::1]\nmode = cluster\n", &["urls: must all begin with rediss://"]),
        ("url = redis://[::1]\nmode = sentinel\n", &["sentinel_name: must be set if"]),
        ("url = redis://[::1]\nsentinel_name = main\n", &["sentinel_name: needs shared_cache.mode"]),
    ]);
}

#[test]
fn every_mistake_about_credentials_is_named() {
    assert_mistakes(&[
        ("url = redis://[::1]\nusername = ada\n", &["password_file: must be set if"]),
        ("url = redis://[::1]\npassword_file = %none\n", &["password_file: %none: No such file"]),
        (
            "url = redis://[::1]\nca_file = %pem\ncertificate = %pem\nkey = %key\n",
            &["ca_file: needs TLS", "certificate: needs TLS", "key: needs TLS"],
        ),
        (
            "url = rediss://[::1]\ncertificate = %pem\n",
            &["key: must be set if shared_cache.certificate is set"],
        ),
        ("url = rediss://[::1]\nkey = %key\n", &["certificate: must be set if shared_cache.key is set"]),
        (
            "url = rediss://[::1]\nca_file = %key\ncertificate = %none\nkey = %pem\n",
            &[
                "ca_file: %key: contains no certificate",
                "certificate: %none: No such",
                "key: %pem: contains no private key",
            ],
        ),
        (
            "url = rediss://[::1]\nusername = ada\npassword_file = %password\niam.user = u\niam.cache = c\n",
            &["iam.cache: is in place of shared_cache.username and shared_cache.password_file"],
        ),
        ("url = redis://[::1]\niam.user = u\niam.cache = c\n", &["iam.cache: needs TLS"]),
        (
            "url = rediss://[::1]\niam.serverless = true\n",
            &["iam.cache: must be set", "iam.user: must be set"],
        ),
        (
            "url = rediss://[::1]\niam.cache = c/?x\niam.user = a b\niam.region = eu_west\n",
            &["iam.cache: is not a name of AWS", "iam.user: is not a name", "iam.region: is not a name"],
        ),
    ]);
}

/// Checks that these lines, beside valid keys, cause exactly these errors.
fn assert_mistakes(table: &[(&str, &[&str])]) {
    let files = Files::new();
    for (lines, expected) in table {
        let (_, errors) = files.read(&format!("{KEYS}{lines}"));
        assert_eq!(errors.len(), expected.len(), "{lines}: {errors:#?}");
        for (error, expected) in errors.iter().zip(*expected) {
            assert!(error.starts_with(&format!("shared_cache.{expected}")), "{lines}: {error}");
            assert!(!error.contains("secret"), "{error}");
            let is_missing = expected.contains("must be set");
            assert!(
                is_missing || error.contains("(from environment variable COGNITO_LOOKUP_SHARED_CACHE__"),
                "{error}"
            );
        }
    }
}

#[test]
fn every_wrong_key_file_is_named() {
    let files = Files::new();
    let index = "index_key_file = %index\n";
    let table: &[(&str, &[&str])] = &[
        (
            "",
            &["index_key_file: must be set to use the shared cache; create", "value_key_files: must be set"],
        ),
        (index, &["value_key_files: must be set"]),
        ("value_key_files = %one\n", &["index_key_file: must be set"]),
        (
            "index_key_file = %short\nvalue_key_files = %short,%none\n",
            &[
                "index_key_file: %short: has fewer than 32 bytes",
                "value_key_files[0]: %short: has fewer than 32 bytes",
                "value_key_files[1]: %none: No such file",
            ],
        ),
        (
            "index_key_file = %one\nvalue_key_files = %two,%one\n",
            &["value_key_files[1]: has the key of shared_cache.index_key_file"],
        ),
        (
            "index_key_file = %index\nvalue_key_files = %one,%one\n",
            &["value_key_files[1]: has the key of an earlier file"],
        ),
    ];
    for (lines, expected) in table {
        let config = files.load(&format!("url = redis://[::1]\n{lines}"));
        let mut errors = ErrorCollector::new(&config);
        assert!(SharedCacheConfig::read(&config, &mut errors).is_none(), "{lines}");
        let (_, errors) = files.read(&format!("url = redis://[::1]\n{lines}"));
        assert_eq!(errors.len(), expected.len(), "{lines}: {errors:#?}");
        for (error, expected) in errors.iter().zip(*expected) {
            assert!(error.starts_with(&format!("shared_cache.{expected}")), "{lines}: {error}");
        }
    }
}

#[test]
fn unrelated_mistakes_are_reported_together() {
    let (_, errors) = Files::new().read(
        "url = redis://x@y\nnamespace = A\nusername = ada\nca_file = %none\ntimeout = 1ns\nsentinel_name = main",
    );
    let keys: Vec<_> = errors.iter().map(|error| error.split_once(": ").unwrap().0).collect();
    let expected = [
        "timeout",
        "url",
        "sentinel_name",
        "ca_file",
        "password_file",
        "namespace",
        "index_key_file",
        "value_key_files",
    ];
    assert_eq!(keys, expected.map(|key| format!("shared_cache.{key}")), "{errors:#?}");
}

#[test]
fn what_is_valid_but_unwise_is_warned_about() {
    let files = Files::new();
    for (lines, expected) in [
        ("url = redis://cache.example", "url"),
        ("url = redis://10.0.0.1\npassword_file = %password", "url"),
        ("urls = redis://127.0.0.1,redis://10.0.0.1\nmode = cluster", "urls[1]"),
    ] {
        let (config, errors) = files.read(&format!("{KEYS}{lines}"));
        assert!(errors.is_empty(), "{errors:?}");
        let config = config.unwrap();
        let [(key, message)] = config.warnings() else { panic!("{:?}", config.warnings()) };
        assert_eq!(*key, format!("shared_cache.{expected}"));
        assert!(message.starts_with(&format!("{key} is without TLS to another machine")), "{message}");
    }
    for name in ["index", "two", "password"] {
        fs::set_permissions(files.0.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let (config, _) = files.read(&format!("{KEYS}url = redis://[::1]\npassword_file = %password"));
    let config = config.unwrap();
    let messages: Vec<_> = config.warnings().iter().map(|(_, message)| message.as_str()).collect();
    let expected = ["password_file", "index_key_file", "value_key_files[1]"];
    assert_eq!(
        messages,
        expected.map(|key| format!("all users of this machine can read shared_cache.{key}"))
    );
}

#[test]
fn a_configuration_shows_no_key() {
    let files = Files::new();
    let (config, _) = files.read(&format!("{KEYS}url = rediss://c.example\npassword_file = %password"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("00112233") && !shown.contains("secret"), "{shown}");
}
