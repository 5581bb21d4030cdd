use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use cognito_lookup::config::ClientCertificate;
use tempfile::TempDir;

use crate::{
    support::certificates::{Authority, Files},
    support::command::{GOOD, command, settings},
};

#[test]
fn files_that_come_late_are_waited_for() {
    let (authority, folder) = (Authority::new("servers"), TempDir::new().unwrap());
    let (files, _settings, file) =
        tls_settings(&authority, folder.path().join("late/audit.key").to_str().unwrap());
    fs::remove_file(files.path("server.pem")).unwrap();
    let starting = Starting::serve(&file);
    let said = starting.until("tls.certificate:");
    assert!(said.contains("audit.key_file:") && said.contains("waiting for up to 60 s"), "{said}");
    fs::create_dir(folder.path().join("late")).unwrap();
    fs::write(folder.path().join("late/audit.key"), "00112233445566778899aabbccddeeff\n").unwrap();
    files.write(&authority.server());
    starting.until("\"message\":\"listening\"");
}

#[test]
fn root_certificates_that_come_late_are_waited_for() {
    let authority = Authority::new("servers");
    let (_files, folder, file) = tls_settings(&authority, "");
    let bundle = folder.path().join("bundle.pem");
    let starting = Starting::serve_with(&file, &[("AWS_CA_BUNDLE", bundle.to_str().unwrap())]);
    let said = starting.until("AWS_CA_BUNDLE:");
    assert!(said.contains("waiting for up to 60 s"), "{said}");
    fs::write(&bundle, &authority.pem).unwrap();
    starting.until("\"message\":\"listening\"");
}

#[test]
fn a_certificate_whose_time_has_not_come_is_waited_for() {
    let authority = Authority::new("servers");
    let (files, _settings, file) = tls_settings(&authority, "");
    files.write(&authority.server_from(SystemTime::now() + Duration::from_secs(4)));
    let starting = Starting::serve(&file);
    let said = starting.until("tls.certificate:");
    assert!(said.contains("is not valid before"), "{said}");
    starting.until("\"message\":\"listening\"");
}

#[test]
fn a_stop_while_it_waits_ends_it() {
    let authority = Authority::new("servers");
    let (files, _settings, file) = tls_settings(&authority, "");
    fs::remove_file(files.path("server.key")).unwrap();
    let mut starting = Starting::serve(&file);
    starting.until("tls.key:");
    assert!(Command::new("kill").arg(starting.process.id().to_string()).status().unwrap().success());
    assert_eq!(starting.process.wait().unwrap().code(), Some(0));
}

/// Supervisors start a process again that ends with 1. With 2 they need not, because the settings
/// are wrong (deploy/systemd).
#[test]
fn a_missing_settings_file_may_come_and_wrong_settings_stay_wrong() {
    let authority = Authority::new("servers");
    let (files, _settings, file) = tls_settings(&authority, "");
    fs::remove_file(files.path("server.pem")).unwrap();
    for (arguments, code) in [
        (&["serve", "--config", "/nowhere/settings.toml"][..], 1),
        (&["serve", "--config", &file, "--listen", "nowhere"], 2),
        (&["config", "check", "--config", &file], 2),
    ] {
        assert_eq!(command(arguments).output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

/// Settings with TLS, and with a file for the key of audit hashes if that is named.
fn tls_settings(authority: &Authority, key_file: &str) -> (Files, TempDir, String) {
    let files = Files::new(&authority.server(), authority);
    let mut config = cognito_lookup::config::Config::default();
    files.set(ClientCertificate::Off)(&mut config);
    let audit =
        if key_file.is_empty() { String::new() } else { format!("[audit]\nkey_file = {key_file:?}\n") };
    let (folder, file) = settings(&format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{audit}[tls]\ncertificate = {:?}\nkey = {:?}\n{GOOD}",
        config.tls.certificate.unwrap(),
        config.tls.key.unwrap(),
    ));
    (files, folder, file)
}

/// A `serve` that has not started yet, killed on drop.
struct Starting {
    process: Child,
    errors: std::cell::RefCell<BufReader<std::process::ChildStderr>>,
}

impl Starting {
    fn serve(file: &str) -> Self {
        Self::serve_with(file, &[])
    }

    fn serve_with(file: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = command(&["serve", "--config", file]);
        let mut process = command.envs(environment.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(process.stderr.take().unwrap());
        Self { process, errors: errors.into() }
    }

    /// Returns what it prints up to a line with this text. Panics if it ends before.
    fn until(&self, text: &str) -> String {
        let (mut said, mut errors) = (String::new(), self.errors.borrow_mut());
        while !said.contains(text) {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{text} is missing in:\n{said}");
        }
        said
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
