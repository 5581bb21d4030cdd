use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, net::UnixListener},
    process::Stdio,
    thread,
    time::Duration,
};

use cognito_lookup::{config::ClientCertificate, proto::user_service_client::UserServiceClient};
use tempfile::TempDir;
use tonic::transport::Endpoint;

use crate::{
    support::certificates::{Authority, Files},
    support::command::{command, stderr, stdout},
    support::process::Process,
    support::{ADA, about, standin},
};

#[test]
fn sighup_reloads_the_files() {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(), &authority);
    let mut config = cognito_lookup::config::Config::default();
    files.set(ClientCertificate::Off)(&mut config);
    let cognito = standin();
    // So rarely that only the signal can cause the reload.
    let settings = format!(
        "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"\n[tls]\ncheck_every = \"1h\"\ncertificate = {:?}\nkey = {:?}",
        config.tls.certificate.unwrap(),
        config.tls.key.unwrap()
    );
    let process = Process::serve(&cognito, &settings);
    fs::write(files.path("server.pem"), "nothing").unwrap();
    process.signal("HUP");
    process.wait_for_log("the new TLS files are invalid; the previous ones stay in use");
    files.write(&authority.server());
    process.signal("HUP");
    process.wait_for_log("TLS files reloaded");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[test]
fn sighup_reloads_the_value_keys_of_the_shared_cache() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, key: &str| fs::write(path(name), key).unwrap();
    write("index", "00112233445566778899aabbccddeeff index");
    write("value", "00112233445566778899aabbccddeeff one");
    // No store answers there, and serving does not depend on it.
    let settings = format!(
        "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"\n[shared_cache]\nurl = \"unix:{}\"\n\
         index_key_file = {:?}\nvalue_key_files = [{:?}]",
        path("no-store"),
        path("index"),
        path("value")
    );
    let cognito = standin();
    let process = Process::serve(&cognito, &settings);
    write("value", "00112233445566778899aabbccddeeff index");
    process.signal("HUP");
    process.wait_for_log("the new value keys are invalid; the previous ones stay in use");
    write("value", "00112233445566778899aabbccddeeff two");
    process.signal("HUP");
    process.wait_for_log("the value keys of the shared cache were reloaded");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[test]
fn sighup_without_changes_is_ignored() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"");
    process.signal("HUP");
    process.wait_for_log("the pools and callers of the settings are unchanged");
    process.signal("INT");
    assert_eq!(process.wait(), Some(0));
}

/// Supervisors signal a process and then its group.
#[test]
fn signals_within_a_second_are_one_stop() {
    for signals in [&["TERM", "TERM"][..], &["INT", "TERM"], &["TERM", "INT"], &["TERM", "TERM", "TERM"]] {
        let cognito = standin();
        let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"");
        let held = cognito.hold("AdminGetUser");
        let address = format!("http://{}", process.address);
        let mut call = command(&["get", "--sub", ADA, "--address", &address]);
        let call = call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while cognito.calls("AdminGetUser") == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        for signal in signals {
            process.signal(signal);
            thread::sleep(Duration::from_millis(5));
        }
        process.wait_for_log("stopping");
        thread::sleep(Duration::from_millis(300));
        drop(held);
        let answer = call.wait_with_output().unwrap();
        assert!(stdout(&answer).contains("Ada Lovelace"), "{signals:?}: {}", stderr(&answer));
        assert_eq!(process.wait(), Some(0), "{signals:?}");
    }
}

#[test]
fn a_later_signal_ends_the_process_at_once() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"10min\"");
    process.signal("TERM");
    process.wait_for_log("stopping");
    thread::sleep(Duration::from_millis(1_100));
    process.signal("TERM");
    assert_eq!(process.wait(), Some(1));
}

#[test]
fn systemd_is_notified_of_start_and_stop() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"";
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let process = Process::serve_with_shell("exec \"$0\" \"$@\"", &cognito, settings, &environment);
    assert_eq!(next_notification(&systemd), "READY=1\n");
    process.signal("TERM");
    assert_eq!(next_notification(&systemd), "STOPPING=1\n");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_served_and_removed_at_the_exit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("grpc.sock");
    // The socket file of a killed process.
    drop(UnixListener::bind(&path).unwrap());
    let cognito = standin();
    let place = format!("unix:{}", path.display());
    let settings = format!("listen = {place:?}\nsocket_mode = \"0660\"\n[shutdown]\ndelay = \"0s\"");
    let process = Process::serve(&cognito, &settings);
    assert_eq!(process.address, place);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let channel = Endpoint::from_shared(place).unwrap().connect().await.unwrap();
    let mut users = UserServiceClient::new(channel);
    let answer = users.get_user(about(ADA)).await.unwrap().into_inner();
    assert_eq!(answer.user.unwrap().attributes["name"], "Ada Lovelace");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
    assert!(!path.exists());
}

fn next_notification(systemd: &UnixDatagram) -> String {
    let mut buffer = [0; 64];
    let length = systemd.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}
