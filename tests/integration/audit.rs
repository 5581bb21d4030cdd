use std::{fs, path::PathBuf, time::Duration};

use cognito_lookup::{
    config::{AuditSettings, AuditSink, Config},
    sandbox::standin::Fault,
    wire::proto::{
        BatchGetUsersRequest, ExplainAccessRequest, GetUserRequest, admin_service_client::AdminServiceClient,
        user_service_client::UserServiceClient,
    },
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::support::{ADA, App, BOB, GRACE, about, assert_failure, bearing};

const GET_USER: &str = "userlookup.v1.UserService/GetUser";

#[tokio::test]
async fn each_end_of_a_call_is_recorded_once() {
    let trail = Trail::new();
    let mut app = App::with(trail.set(|config| {
        config.limits.request_timeout = Duration::from_millis(500);
        config.callers[1].attributes = vec!["name".into(), "username".into(), "created_at".into()];
    }))
    .await;
    let good = app.token("ada");
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, "A".repeat(342));
    app.by_token(&good).await.unwrap();
    app.by_sub(ADA).await.unwrap();
    app.by_sub("nobody").await.unwrap_err();
    app.by_token(&forged).await.unwrap_err();
    app.by_token(&app.token("bob")).await.unwrap_err();
    app.by_sub("a b").await.unwrap_err();
    app.ask(bearing(&good, about(GRACE))).await.unwrap_err();
    let named = |names: &[&str]| GetUserRequest {
        attributes: names.iter().map(ToString::to_string).collect(),
        ..about(ADA)
    };
    let long = "x".repeat(64);
    app.ask(Request::new(named(&["name", "phone_number", &long]))).await.unwrap_err();
    app.ask(Request::new(named(&["name"]))).await.unwrap();
    let elsewhere = GetUserRequest { user_pool_id: "eu-west-1_Nowhere".into(), ..about(ADA) };
    app.ask(Request::new(elsewhere)).await.unwrap_err();
    app.cognito.fault("AdminGetUser", Fault::Delay(Duration::from_secs(5)));
    assert_failure(app.by_sub(GRACE).await, Code::DeadlineExceeded, "DEADLINE");
    let too_large = GetUserRequest { access_token: "x".repeat(65 * 1024), ..GetUserRequest::default() };
    app.ask(Request::new(too_large)).await.unwrap_err();

    let expected = [
        ("web", ADA, "email name", "released"),
        ("sidecar", ADA, "name username created_at", "released"),
        ("sidecar", "nobody", "", "USER_NOT_FOUND"),
        ("", "", "", "TOKEN_INVALID"),
        ("web", BOB, "", "USER_DISABLED"),
        ("sidecar", "", "", "SUB_MALFORMED"),
        ("web", ADA, "", "SUBJECT_AMBIGUOUS"),
        ("sidecar", ADA, "name phone_number", "ATTRIBUTE_NOT_ALLOWED"),
        ("sidecar", ADA, "name", "released"),
        ("sidecar", "", "", "FIELD_INVALID"),
        ("sidecar", GRACE, "", "DEADLINE"),
        ("", "", "", "FIELD_INVALID"),
    ];
    let key = trail.key();
    let pool = app.cognito.pool_id().to_owned();
    let hash = |sub: &str| key.hash(&pool.parse().unwrap(), &sub.parse().unwrap());
    app.stop();
    let hashes = expected.map(|(_, sub, ..)| if sub.is_empty() { String::new() } else { hash(sub) });
    app.stopped().await;
    let records = trail.records();
    for (n, (caller, _, names, outcome)) in expected.into_iter().enumerate() {
        let record = &records[n];
        let text = |field: &str| record[field].as_str().unwrap_or_default();
        let told: Vec<_> =
            record["attributes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(
            (text("caller"), text("outcome"), &told.join(" ")[..]),
            (caller, outcome, names),
            "{n}: {record}"
        );
        assert_eq!((text("sub_hash"), text("method")), (&hashes[n][..], GET_USER), "{n}: {record}");
        assert_eq!(text("pool"), if hashes[n].is_empty() { "" } else { &pool }, "{n}: {record}");
        assert_eq!(record["source"].is_string(), outcome == "released", "{n}: {record}");
        assert!(text("time").ends_with('Z') && text("request_id").len() == 36, "{n}: {record}");
    }
    assert_eq!(records.len(), expected.len(), "health leaves no record");
    assert_eq!(records[0]["source"], "COGNITO");
    assert_eq!((&records[1]["source"], &records[1]["stale_reason"]), (&"CACHE".into(), &Value::Null));
    assert_eq!(records[7]["attributes_left_out"], 1);
    let text = fs::read_to_string(&trail.path).unwrap();
    for secret in [ADA, BOB, GRACE, "Lovelace", "ada@example.com", "nobody", &long, &good, "Nowhere"] {
        assert!(!text.contains(secret), "{secret}:\n{text}");
    }
}

#[tokio::test]
async fn a_call_taken_back_is_recorded() {
    let trail = Trail::new();
    let app = App::with(trail.set(|_| {})).await;
    app.cognito.fault("AdminGetUser", Fault::Hang);
    let message = prost::Message::encode_to_vec(&about(ADA));
    let framed = [&[0, 0, 0, 0, message.len().try_into().unwrap()], &message[..]].concat();
    let (_answer, mut stream) = app.raw_call().await;
    stream.send_data(framed.into(), true).unwrap();
    while app.lookups() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    stream.send_reset(h2::Reason::CANCEL);
    trail.holds(1).await;
    let record = &trail.records()[0];
    assert_eq!((&record["outcome"], &record["caller"]), (&"cancelled".into(), &"sidecar".into()));
    assert!(record["sub_hash"].is_string() && record["method"] == GET_USER, "{record}");
}

#[tokio::test]
async fn what_administrators_and_others_ask_is_recorded_too() {
    let trail = Trail::new();
    let mut app = App::with(trail.set(|config| config.callers[1].admin = true)).await;
    let admin = AdminServiceClient::new(app.channel.clone());
    let explain = |caller: &str| {
        let request = ExplainAccessRequest {
            caller: caller.into(),
            sub: ADA.into(),
            ..ExplainAccessRequest::default()
        };
        let mut admin = admin.clone();
        async move { admin.explain_access(request).await }
    };
    explain("web").await.unwrap();
    explain("nobody").await.unwrap_err();
    let mut users = UserServiceClient::new(app.channel.clone());
    users.batch_get_users(BatchGetUsersRequest::default()).await.unwrap_err();
    app.stop();
    app.stopped().await;
    let records = trail.records();
    assert_eq!(records[0]["method"], "userlookup.v1.AdminService/ExplainAccess");
    assert_eq!((&records[0]["caller"], records[0]["sub_hash"].is_string()), (&"sidecar".into(), true));
    assert_eq!(
        (&trail.outcomes()[..2], records.len()),
        (&["answered".to_owned(), "FIELD_INVALID".to_owned()][..], 3)
    );
}

/// An audit file and a key, in a folder of their own.
struct Trail {
    folder: TempDir,
    path: PathBuf,
}

impl Trail {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(folder.path().join("key"), "00112233445566778899aabbccddeeff\n").unwrap();
        Self { folder, path }
    }

    /// Settings that write to it.
    fn set(&self, change: impl FnOnce(&mut Config)) -> impl FnOnce(&mut Config) {
        let audit = AuditSettings {
            sink: AuditSink::File,
            path: Some(self.path.display().to_string()),
            key_file: Some(self.folder.path().join("key").display().to_string()),
            ..AuditSettings::default()
        };
        move |config| {
            config.audit = audit;
            change(config);
        }
    }

    fn key(&self) -> cognito_lookup::audit::Key {
        let mut config = Config::default();
        self.set(|_| {})(&mut config);
        let mut faults = cognito_lookup::config::Faults::collector(&config);
        cognito_lookup::audit::key_of(&config, &mut faults).unwrap()
    }

    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    fn outcomes(&self) -> Vec<String> {
        self.records().iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until there are so many records.
    async fn holds(&self, count: usize) {
        for _ in 0..6_000 {
            if self.records().len() >= count {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", self.records());
    }
}
