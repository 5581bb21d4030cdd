use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    thread,
};

use cognito_lookup::proto::{GetUserRequest, WatchUsersRequest, user_service_client::UserServiceClient};
use cognito_standin::{Fault, Pool, StandIn};
use tempfile::TempDir;
use tonic::Request;

use crate::{
    support::process::pool,
    support::{ADA, BOB, GRACE, about, connect, with_token},
};

// A stand-in whose users have values that appear in no other text.
fn marked_standin() -> StandIn {
    let cognito = StandIn::start(Pool::sandbox()).unwrap();
    cognito
        .update_user("ada", |ada| {
            for (name, value) in &mut ada.attributes {
                *value = format!("canary-{name}-canary");
            }
        })
        .unwrap();
    cognito
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_log_has_no_personal_data() {
    let cognito = marked_standin();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, settings(&cognito)).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
        .args(["serve", "--log-level", "trace", "--config"])
        .arg(&file)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "canary-key"), ("RUST_LOG", "trace")])
        .env("COGNITO_LOOKUP_POOLS__0__FEDERATED", "true")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut text = String::new();
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server ended:\n{text}");
        text.push_str(&line);
        let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
        if fields["message"] == "listening" {
            break fields["address"].as_str().unwrap().parse().unwrap();
        }
    };
    // Reads the log without pause: a log with a slow reader drops lines.
    let rest = thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).map(|_| rest)
    });
    let mut users = UserServiceClient::new(connect(address).await);
    let secrets = make_every_kind_of_call(&mut users, &cognito).await;
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    text.push_str(&rest.join().unwrap().unwrap());
    let mut audit = String::new();
    process.stdout.take().unwrap().read_to_string(&mut audit).unwrap();
    assert!(process.wait().unwrap().success());

    assert!(text.contains("\"reason\":\"TOKEN_INVALID\""), "the calls were logged:\n{text}");
    for message in ["call begun", "call to Cognito ended"] {
        let is_traced = |line: &str| line.contains("\"TRACE\"") && line.contains(message);
        assert!(text.lines().any(is_traced), "{message} is not traced:\n{text}");
    }
    assert!(text.contains("RUST_LOG is ignored"), "{text}");
    for line in text.lines() {
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        let ours = fields["target"].as_str().unwrap().starts_with("cognito_lookup");
        assert!(ours || ["ERROR", "WARN"].contains(&fields["level"].as_str().unwrap()), "{line}");
    }
    assert!(audit.contains("\"outcome\":\"TOKEN_INVALID\""), "the calls were recorded:\n{audit}");
    text.push_str(&audit);
    for secret in
        secrets.iter().map(String::as_str).chain(["canary", ADA, BOB, GRACE, "ada@example.com", "secret-sub"])
    {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}

/// Makes calls that succeed and fail in every way, and returns what must not appear in the log.
async fn make_every_kind_of_call(
    users: &mut UserServiceClient<tonic::transport::Channel>,
    cognito: &StandIn,
) -> Vec<String> {
    let good = cognito.access_token("ada").unwrap();
    // The JWKS may not have arrived yet.
    while users.get_user(with_token(&good, GetUserRequest::default())).await.is_err() {}
    let bobs = cognito.access_token("bob").unwrap();
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, bobs.rsplit_once('.').unwrap().1);
    let tokens = [
        forged,
        cognito.id_token("ada").unwrap(),
        cognito.access_token("bob").unwrap(),
        "secret-one.secret-two.secret-three".into(),
    ];
    for token in &tokens {
        assert!(users.get_user(with_token(token, GetUserRequest::default())).await.is_err());
    }
    for sub in ["secret-sub", "secret sub"] {
        assert!(users.get_user(Request::new(about(sub))).await.is_err());
    }
    let watching = WatchUsersRequest { subs: vec!["secret-sub".into()], ..WatchUsersRequest::default() };
    assert!(users.watch_users(Request::new(watching)).await.is_err());
    for fault in [
        Fault::Throttle,
        Fault::AccessDenied,
        Fault::ServerError,
        Fault::Reset,
        Fault::WrongUser("ada".into()),
    ] {
        cognito.inject("AdminGetUser", fault);
        assert!(users.get_user(Request::new(about("secret-sub-2"))).await.is_err());
    }
    cognito.clear_faults("AdminGetUser");
    assert!(users.get_user(Request::new(about(ADA))).await.is_ok());
    let parts = tokens.iter().chain([&good]).flat_map(|token| token.split('.').skip(1));
    parts.map(ToOwned::to_owned).collect()
}

fn settings(cognito: &StandIn) -> String {
    let head = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"\n";
    format!("{head}{}", pool(cognito, "*"))
}
