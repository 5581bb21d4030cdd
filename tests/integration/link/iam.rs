use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{
    store::{
        cluster::SecuredCluster,
        server::{Engine, Mode, Server, tls_settings, wait_for},
    },
    support::{
        certificates::{Authority, Files},
        process::Process,
        standin,
    },
};

/// The settings of a shared cache with IAM, whose files are in a folder.
fn settings(url: &str, ca: &Path, folder: &Path) -> String {
    for (name, text) in [("index", "0123456789abcdef"), ("value", "fedcba9876543210")] {
        fs::write(folder.join(name), text.repeat(4)).unwrap();
    }
    let (ca, folder) = (ca.display(), folder.display());
    format!(
        "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"\n[shared_cache]\n{url}\nca_file = \"{ca}\"\nindex_key_file = \"{folder}/index\"\n\
         value_key_files = [\"{folder}/value\"]\ntimeout = \"200ms\"\nconnect_timeout = \"2s\"\n\
         iam = {{ cache = \"lookup-1\", user = \"cl-user\", region = \"eu-west-1\" }}\n"
    )
}

/// Waits until so many clients are connected as the user of IAM.
async fn until_connected(count: usize, lists: impl AsyncFn() -> Vec<String>) {
    let begun = Instant::now();
    while connected(&lists().await) < count {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:#?}", lists().await);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns how many clients are connected as the user of IAM, of those in the lists.
fn connected(lists: &[String]) -> usize {
    lists.iter().flat_map(|list| list.lines()).filter(|line| line.contains("user=cl-user")).count()
}

/// ElastiCache verifies the token. This server takes any, so that only its form is not tested here.
const USER: &str = "ACL SETUSER cl-user on nopass ~* +@all";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_authenticate_both_connections() {
    let (folder, ours) = (TempDir::new().unwrap(), Authority::new("ours"));
    let files = Files::new(&ours.server(), &ours);
    let server = Server::start_with(Engine::Redis, Mode::Tls, &tls_settings(&files, false)).await;
    let (mut client, cognito) = (server.client().await, standin());
    let url = format!("url = \"rediss://localhost:{}\"", server.address.port());
    let settings = settings(&url, &files.path("clients.pem"), folder.path());
    let _process = Process::serve(&cognito, &settings);
    // The user does not exist yet.
    wait_for(&mut client, "ACL LOG", "cl-user").await;
    assert_eq!(connected(&[client.text("CLIENT LIST").await]), 0);
    client.text(USER).await;
    until_connected(2, async || vec![server.client().await.text("CLIENT LIST").await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_authenticate_the_connections_to_all_nodes() {
    let folder = TempDir::new().unwrap();
    let cluster = SecuredCluster::start().await;
    cluster.command("CONFIG SET tls-auth-clients no").await;
    cluster.command(USER).await;
    let url = format!("mode = \"cluster\"\nurl = \"rediss://localhost:{}\"", cluster.seed);
    let settings = settings(&url, &cluster.path("ca.pem"), folder.path());
    let cognito = standin();
    let _process = Process::serve(&cognito, &settings);
    // Those of the commands and of the events, to three primaries.
    until_connected(6, async || cluster.command("CLIENT LIST").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_are_named() {
    let folder = TempDir::new().unwrap();
    let ours = Authority::new("ours");
    let files = Files::new(&ours.server(), &ours);
    let settings = settings("url = \"rediss://localhost:1\"", &files.path("clients.pem"), folder.path());
    let line = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; exec \"$0\" \"$@\"";
    let nothing = [("AWS_EC2_METADATA_DISABLED", "true")];
    let cognito = standin();
    let process = Process::start_with_shell(line, &cognito, &settings, &nothing);
    let lines = process.log_until("cannot connect to the shared cache; trying again");
    let cause = lines.last().unwrap()["cause"].as_str().unwrap();
    assert!(cause.starts_with("shared_cache.iam: no AWS credentials"), "{cause}");
}
