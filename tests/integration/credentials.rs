use std::{fs, path::PathBuf, time::Duration};

use cognito_standin::{Pool, Role, StandIn};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ADA, BOB, process::Process, standin, stub::Stub};

/// As `aws configure` and its users write profiles. Nothing exists when the process starts.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_profile_works_and_may_appear_after_the_start() {
    let expiry = 4_070_908_800_000_u64;
    let sso = json!({"roleCredentials": {
        "accessKeyId": KEY, "secretAccessKey": "x", "sessionToken": "x", "expiration": expiry,
    }});
    let portal = Stub::start(&sso.to_string()).await;
    let portal_url = format!("http://{}", portal.address);
    let process_output =
        json!({"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": "x", "SessionToken": "x"});
    let sso_profile = "[profile dev]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = reader\n\
                       [sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n";
    let token = json!({
        "accessToken": "x", "expiresAt": "2099-01-01T00:00:00Z", "region": "eu-west-1",
        "startUrl": "https://corp.awsapps.com/start",
    });
    // The name is the SHA-1 of `corp`.
    let token_file = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    let static_profile = format!("[profile dev]\naws_access_key_id = {KEY}\naws_secret_access_key = x\n");
    let shared_profile = format!("[dev]\naws_access_key_id = {KEY}\naws_secret_access_key = x\n");
    let process_profile = "[profile dev]\ncredential_process = /bin/cat output.json\n";
    let kinds: [(&str, Vec<(&str, String)>); 4] = [
        ("static keys", vec![(".aws/config", static_profile)]),
        ("static keys in the credentials file", vec![(".aws/credentials", shared_profile)]),
        (
            "credential_process",
            vec![("output.json", process_output.to_string()), (".aws/config", process_profile.into())],
        ),
        ("sso_session", vec![(token_file, token.to_string()), (".aws/config", sso_profile.into())]),
    ];
    for (kind, files) in kinds {
        let (cognito, home) = (guarded(), TempDir::new().unwrap());
        let process =
            start(&cognito, &home, &[("AWS_PROFILE", "dev"), ("AWS_ENDPOINT_URL_SSO", &portal_url)]);
        process.wait_for_log("no AWS credentials yet");
        for (name, content) in &files {
            write(&home, name, content);
        }
        process.wait_for_log("serving");
        assert!(process.client(&["get", "--sub", ADA]).is_ok(), "{kind}");
    }
    assert!(portal.requests() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_token_may_appear_after_the_start() {
    let (cognito, home) = (guarded(), TempDir::new().unwrap());
    let token = path(&home, "token");
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ENDPOINT_URL_STS", &cognito.endpoint_url()),
    ];
    let process = start(&cognito, &home, &environment);
    let log = process.log_until("no AWS credentials yet");
    let cause = log.last().unwrap()["cause"].as_str().unwrap();
    assert!(cause.contains(token.to_str().unwrap()) || cause.contains("No such file"), "{cause}");
    write(&home, "token", "a.b.c");
    process.wait_for_log("serving");
    assert!(process.client(&["get", "--sub", ADA]).is_ok());
}

/// Keys were rotated: AWS refuses the old ones, and the file has new ones.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_aws_refuses_are_read_again() {
    let (cognito, home) = (guarded(), TempDir::new().unwrap());
    let keys = |key: &str| format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = x\n");
    write(&home, ".aws/credentials", &keys("AKIAOLD"));
    let process = start(&cognito, &home, &[]);
    process.wait_for_log("serving");
    assert!(process.client(&["get", "--sub", ADA]).unwrap_err().contains("UPSTREAM_UNAVAILABLE"));
    write(&home, ".aws/credentials", &keys(KEY));
    let begun = tokio::time::Instant::now();
    while let Err(error) = process.client(&["get", "--sub", BOB]) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A source that is slower than the time limit of a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_source_is_waited_for() {
    let (cognito, home) = (guarded(), TempDir::new().unwrap());
    let output = json!({"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": "x", "SessionToken": "x"});
    write(&home, "output.json", &output.to_string());
    let profile = "[default]\ncredential_process = sh -c \"sleep 2; cat output.json\"\n";
    write(&home, ".aws/config", profile);
    let process = start(&cognito, &home, &[]);
    process.wait_for_log("serving");
    assert!(process.client(&["get", "--sub", ADA]).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_source_is_logged_with_its_first_cause() {
    let (cognito, home) = (standin(), TempDir::new().unwrap());
    write(
        &home,
        ".aws/config",
        "[default]\ncredential_process = sh -c \"echo the tool says no >&2; exit 3\"\n",
    );
    let process = start(&cognito, &home, &[]);
    for _ in 0..3 {
        let log = process.log_until("no AWS credentials yet");
        let cause = log.last().unwrap()["cause"].as_str().unwrap();
        assert!(cause.contains("the tool says no"), "{cause}");
        let earlier = |line: &Value| line["message"].to_string().contains("GetProvisionedLimit");
        assert!(!log.iter().any(earlier), "nothing is called without credentials: {log:#?}");
    }
}

/// A pool that accepts the credentials of one session only.
fn guarded() -> StandIn {
    let role = Role { arn: ROLE.into(), external_id: None };
    StandIn::start(Pool { role: Some(role), ..Pool::sandbox() }).unwrap()
}

fn start(cognito: &StandIn, home: &TempDir, environment: &[(&str, &str)]) -> Process {
    let home_path = home.path().to_str().unwrap();
    let common = [("HOME", home_path), ("AWS_EC2_METADATA_DISABLED", "true"), ("PATH", "/usr/bin:/bin")];
    let environment = [&common[..], environment].concat();
    let line = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY; cd \"$HOME\" && exec \"$0\" \"$@\"";
    Process::listen_with_shell(line, cognito, "listen = \"127.0.0.1:0\"", &environment)
}

fn write(home: &TempDir, name: &str, content: &str) {
    let path = path(home, name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn path(home: &TempDir, name: &str) -> PathBuf {
    home.path().join(name)
}

// The stand-in's credentials of the role.
const KEY: &str = "ASIASTANDIN000000001";
const ROLE: &str = "arn:aws:iam::210987654321:role/user-lookup";
