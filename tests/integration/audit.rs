use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use cognito_lookup::{
    config::{AuditSettings, AuditSink, Config},
    proto::{
        BatchGetUsersRequest, EraseUserRequest, ExplainAccessRequest, GetUserRequest,
        admin_service_client::AdminServiceClient,
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
        user_service_client::UserServiceClient,
    },
    server::Listeners,
};
use cognito_standin::{Fault, StandIn};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request};

use crate::{
    support::command::{GOOD, code, run, settings, stderr, stdout},
    support::process::Process,
    support::{
        ADA, App, BOB, GET_USER_STARTED, GRACE, WEB, about, assert_failure, config, connect, failure,
        http_get, metric, serve, standin, with_token,
    },
};

const KEYLESS: &str =
    "audit.key_file is not set: the sub_hash of a user differs between processes and changes with each start";
const READABLE: &str = "users other than its owner can read the audit file";
/// Starts the server on a disk of 16 KiB. The trap keeps SIGXFSZ from ending the process.
const SMALL_DISK: &str = "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\"";
const GET_USER: &str = "userlookup.v1.UserService/GetUser";

#[tokio::test]
async fn every_outcome_of_a_call_is_recorded_once() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(|config| {
        config.limits.request_timeout = Duration::from_millis(500);
        config.callers[1].attributes = vec!["name".into(), "username".into(), "created_at".into()];
    }))
    .await;
    let good = app.token("ada");
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, "A".repeat(342));
    app.get_by_token(&good).await.unwrap();
    app.get_by_sub(ADA).await.unwrap();
    app.get_by_sub("nobody").await.unwrap_err();
    app.get_by_token(&forged).await.unwrap_err();
    app.get_by_token(&app.token("bob")).await.unwrap_err();
    app.get_by_sub("a b").await.unwrap_err();
    app.get_user(with_token(&good, about(GRACE))).await.unwrap_err();
    let wishing = |names: &[&str]| GetUserRequest {
        attributes: names.iter().map(ToString::to_string).collect(),
        ..about(ADA)
    };
    let long = "x".repeat(64);
    app.get_user(Request::new(wishing(&["name", "phone_number", &long, "eve@example.com"])))
        .await
        .unwrap_err();
    app.get_user(Request::new(wishing(&["name"]))).await.unwrap();
    let elsewhere = GetUserRequest { user_pool_id: "eu-west-1_Nowhere".into(), ..about(ADA) };
    app.get_user(Request::new(elsewhere)).await.unwrap_err();
    app.cognito.inject("AdminGetUser", Fault::Delay(Duration::from_secs(5)));
    assert_failure(app.get_by_sub(GRACE).await, Code::DeadlineExceeded, "DEADLINE");
    let too_large = GetUserRequest { access_token: "x".repeat(65 * 1024), ..GetUserRequest::default() };
    app.get_user(Request::new(too_large)).await.unwrap_err();

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
        ("", "", "", "OVERLOADED"),
    ];
    let key = trail.key();
    let pool = app.cognito.pool_id().to_owned();
    let hash = |sub: &str| key.hash(&pool.parse().unwrap(), &sub.parse().unwrap());
    app.stop();
    let hashes =
        expected.map(|(_, sub, ..)| if sub.is_empty() { String::new() } else { hash(sub).to_string() });
    app.wait_until_stopped().await;
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
    assert_eq!(records[7]["attributes_left_out"], 2);
    let text = fs::read_to_string(&trail.path).unwrap();
    for secret in
        [ADA, BOB, GRACE, "Lovelace", "ada@example.com", "eve@example.com", "nobody", &long, &good, "Nowhere"]
    {
        assert!(!text.contains(secret), "{secret}:\n{text}");
    }
}

#[tokio::test]
async fn a_cancelled_call_is_recorded() {
    let trail = Trail::new();
    let app = App::start_with_config(trail.set(|_| {})).await;
    app.cognito.inject("AdminGetUser", Fault::Hang);
    let message = prost::Message::encode_to_vec(&about(ADA));
    let framed = [&[0, 0, 0, 0, message.len().try_into().unwrap()], &message[..]].concat();
    let (_answer, mut stream) = app.begin_get_user().await;
    stream.send_data(framed.into(), true).unwrap();
    while app.cognito_lookups() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    stream.send_reset(h2::Reason::CANCEL);
    trail.holds(1).await;
    let record = &trail.records()[0];
    assert_eq!((&record["outcome"], &record["caller"]), (&"cancelled".into(), &"sidecar".into()));
    assert!(record["sub_hash"].is_string() && record["method"] == GET_USER, "{record}");
}

#[tokio::test]
async fn a_call_cancelled_within_its_message_is_recorded_as_cancelled() {
    let trail = Trail::new();
    let app = App::start_with_config(trail.set(|_| {})).await;
    let (_answer, mut stream) = app.begin_get_user().await;
    stream.send_data(vec![0, 0, 0, 0, 9, 10].into(), false).unwrap();
    app.wait_for_metric(GET_USER_STARTED, |begun| begun > 0.0).await;
    stream.send_reset(h2::Reason::CANCEL);
    trail.holds(1).await;
    assert_eq!(trail.records()[0]["outcome"], "cancelled");
}

#[tokio::test]
async fn every_record_says_where_it_is_from_and_what_identified_the_caller() {
    let trail = Trail::new();
    let mut app =
        App::start_with_config(trail.set(|config| config.audit.replica = Some("replica-1".into()))).await;
    app.get_by_token(&app.token("ada")).await.unwrap();
    app.get_by_sub(ADA).await.unwrap();
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    for (record, kind, principal) in [(&records[0], "app_client", WEB), (&records[1], "rule", "sidecar")] {
        assert_eq!((&record["schema"], &record["replica"]), (&1.into(), &"replica-1".into()), "{record}");
        assert_eq!(record["key_id"], trail.key().id(), "{record}");
        assert_eq!(record["peer"], "127.0.0.1", "{record}");
        assert_eq!((&record["principal_kind"], &record["principal"]), (&kind.into(), &principal.into()));
    }
}

/// A variable that Fargate sets from a secret is as good as a file, and the key before it still finds
/// its records.
#[test]
fn keys_come_from_the_environment_and_audit_hash_knows_both() {
    let [current, previous] = ["00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"];
    let (folder, file) = settings(GOOD);
    let key_file = folder.path().join("key");
    fs::write(&key_file, current).unwrap();
    let hashes = |environment: &[(&str, &str)], arguments: &[&str]| {
        let output = run(&[&["audit-hash", "ada", "--config", &file], arguments].concat(), environment);
        (code(&output), stdout(&output).lines().map(ToOwned::to_owned).collect::<Vec<_>>(), stderr(&output))
    };
    let key = ("COGNITO_LOOKUP_AUDIT_KEY", current);
    let from_file = [("COGNITO_LOOKUP_AUDIT__KEY_FILE", key_file.to_str().unwrap())];
    let (_, of_file, _) = hashes(&from_file, &[]);
    assert_eq!(hashes(&[key], &[]).1, of_file);
    let (_, both, _) = hashes(&[key, ("COGNITO_LOOKUP_AUDIT_PREVIOUS_KEY", previous)], &[]);
    assert_eq!((both.len(), &both[0]), (2, &of_file[0]));
    assert_eq!(both[1], hashes(&[("COGNITO_LOOKUP_AUDIT_KEY", previous)], &[]).1[0]);
    for (environment, expected) in [
        (
            vec![("COGNITO_LOOKUP_AUDIT_KEY", "short-secret")],
            "COGNITO_LOOKUP_AUDIT_KEY: has fewer than 32 bytes",
        ),
        (vec![key, from_file[0]], "audit.key_file: is set, and so is COGNITO_LOOKUP_AUDIT_KEY"),
        (vec![], "audit.key_file: must be set"),
    ] {
        let (code, _, said) = hashes(&environment, &[]);
        assert!(code == 2 && said.contains(expected) && !said.contains("short-secret"), "{said}");
    }
    let printed = run(&["config", "print", "--config", &file], &[key]);
    assert!(!stdout(&printed).contains(current), "a secret is no setting");
}

#[tokio::test]
async fn admin_calls_and_their_refusals_are_recorded() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(|config| config.callers[1].admin = true)).await;
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
    app.wait_until_stopped().await;
    let records = trail.records();
    assert_eq!(records[0]["method"], "userlookup.v1.AdminService/ExplainAccess");
    assert_eq!((&records[0]["caller"], records[0]["sub_hash"].is_string()), (&"sidecar".into(), true));
    assert_eq!(
        (&trail.outcomes()[..2], records.len()),
        (&["answered".to_owned(), "FIELD_INVALID".to_owned()][..], 3)
    );
}

#[tokio::test]
async fn every_user_of_a_batch_is_recorded_and_an_erasure_with_its_receipt() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(|config| config.callers[1].admin = true)).await;
    let mut users = UserServiceClient::new(app.channel.clone());
    let subs = [ADA, "nobody", ADA].map(Into::into).into();
    let batch = BatchGetUsersRequest { subs, ..BatchGetUsersRequest::default() };
    users.batch_get_users(batch.clone()).await.unwrap();
    let batch = BatchGetUsersRequest { attributes: vec!["email".into()], ..batch };
    users.batch_get_users(batch).await.unwrap_err();
    let mut admin = AdminServiceClient::new(app.channel.clone());
    let erase = EraseUserRequest { sub: ADA.into(), ..EraseUserRequest::default() };
    let receipt = admin.erase_user(erase).await.unwrap().into_inner();
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    let refused = "ATTRIBUTE_NOT_ALLOWED";
    assert_eq!(trail.outcomes(), ["released", "USER_NOT_FOUND", refused, "answered"]);
    assert_eq!(records[0]["attributes"], serde_json::json!(["name"]));
    assert_eq!((&records[0]["source"], &records[1]["source"]), (&"COGNITO".into(), &Value::Null));
    assert_eq!(records[0]["request_id"], records[1]["request_id"]);
    assert_eq!(records[0]["sub_hash"], records[3]["sub_hash"]);
    assert_ne!(records[0]["sub_hash"], records[1]["sub_hash"]);
    assert_eq!(records[2]["attributes"], serde_json::json!(["email"]));
    assert_eq!(records[2]["users"], 2);
    assert_eq!(records[3]["receipt_id"], receipt.receipt_id);
    assert_eq!((&records[3]["entries"], &records[3]["absences"]), (&1.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_file_under_load_loses_and_tears_no_line() {
    const ROTATIONS: usize = 8;
    let trail = Trail::new();
    let cognito = standin();
    let process = Process::serve(&cognito, &trail.settings("[shutdown]\ndelay = \"0s\""));
    assert!(has_logged(&process, KEYLESS) && !has_logged(&process, READABLE));
    let channel = connect(process.address.parse().unwrap()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for n in 0..4 {
        let (mut users, stop) = (UserServiceClient::new(channel.clone()), Arc::clone(&stop));
        load.spawn(async move {
            let mut ids = Vec::new();
            while !stop.load(Relaxed) {
                let id = format!("{n}-{}", ids.len());
                users.get_user(with_request_id(&id, about(ADA))).await.unwrap();
                ids.push(id);
            }
            ids
        });
    }
    for n in 0..ROTATIONS {
        trail.holds(20).await;
        fs::rename(&trail.path, trail.folder.path().join(format!("audit.{n}"))).unwrap();
        process.signal("HUP");
        process.wait_for_log("audit sink reopened");
    }
    stop.store(true, Relaxed);
    let mut sent: Vec<String> = load.join_all().await.concat();
    assert_eq!(fs::metadata(&trail.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(metric(process.admin, "cognito_lookup_audit_records_dropped_total").await, 0.0);
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
    let moved = (0..ROTATIONS).map(|n| trail.folder.path().join(format!("audit.{n}")));
    let files: String = moved.chain([trail.path]).map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut recorded = request_ids(&files);
    sent.sort_unstable();
    recorded.sort_unstable();
    assert!(sent.len() >= 20 * ROTATIONS && recorded == sent, "{} {}", sent.len(), recorded.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sink_delays_no_call_and_lost_records_are_counted() {
    const DROPPED: &str = "cognito_lookup_audit_records_dropped_total";
    let trail = Trail::new();
    let cognito = standin();
    let process = trail.piped("exec \"$0\" \"$@\" 1<>\"$PIPE\"", &cognito);
    let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    let mut answered = 0;
    while metric(process.admin, DROPPED).await == 0.0 {
        for _ in 0..100 {
            users.get_user(Request::new(about(ADA))).await.unwrap();
        }
        answered += 100;
        assert!(answered < 10_000, "nothing is lost");
    }
    process.wait_for_log("audit records are lost: the sink does not accept them");
    let dropped = metric(process.admin, DROPPED).await;
    // Records fill the pipe (64 KiB), the writer's current batch, and the queue of the one worker
    // (512 KiB).
    assert!(f64::from(answered) - dropped > 300.0, "{dropped} of {answered}");
    let reader = fs::OpenOptions::new().read(true).open(trail.pipe()).unwrap();
    let lines = thread::spawn(move || {
        let lines = BufReader::new(reader).lines().map_while(Result::ok);
        lines.take_while(|line| !line.contains("the-last")).collect::<Vec<_>>().join("\n")
    });
    let since = process.log_until("audit records are written again");
    assert!(
        since.iter().all(|line| line["message"] != "audit records are lost: the sink does not accept them"),
        "said once"
    );
    let dropped = metric(process.admin, DROPPED).await;
    users.get_user(with_request_id("the-last", about(ADA))).await.unwrap();
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
    assert_eq!(request_ids(&lines.join().unwrap()).len() as f64 + dropped, f64::from(answered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sink_neither_fails_calls_nor_delays_the_exit() {
    let table = [
        ("{ : <\"$PIPE\"; } & exec \"$0\" \"$@\" >\"$PIPE\"", "audit records cannot be written"),
        (
            "exec \"$0\" \"$@\" 1<>\"$PIPE\"",
            "the last audit records were not written: the sink does not accept them",
        ),
    ];
    for (line, expected) in table {
        let trail = Trail::new();
        let cognito = standin();
        let process = trail.piped(line, &cognito);
        let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
        for _ in 0..500 {
            users.get_user(Request::new(about(ADA))).await.unwrap();
        }
        process.signal("TERM");
        process.wait_for_log(expected);
        assert_eq!(process.wait(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_audit_required_a_reply_leaves_only_after_its_record_is_written() {
    let trail = Trail::new();
    let cognito = standin();
    let key = trail.folder.path().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let settings =
        trail.settings(&format!("required = true\nkey_file = {key:?}\n[shutdown]\ndelay = \"0s\""));
    fs::write(&trail.path, "").unwrap();
    fs::set_permissions(&trail.path, fs::Permissions::from_mode(0o640)).unwrap();
    let process = Process::serve_with_shell(SMALL_DISK, &cognito, &settings, &[]);
    assert!(has_logged(&process, READABLE));
    assert!(has_logged(&process, "all users of this machine can read audit.key_file"));
    assert!(!has_logged(&process, KEYLESS));
    let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
    let mut answered = Vec::new();
    let status = loop {
        let id = format!("first-{}", answered.len());
        match users.get_user(with_request_id(&id, about(ADA))).await {
            Ok(_) => answered.push(id),
            Err(status) => break status,
        }
        assert_eq!(request_ids(&trail.text()), answered, "each is there when its answer is");
    };
    assert!(answered.len() > 20);
    assert_eq!(failure(&status), (Code::Internal, "INTERNAL".to_owned()));
    process.wait_for_log("audit records cannot be written");
    // Refusals need their record too, because they reveal whether a user exists.
    let nobody = users.get_user(Request::new(about("nobody"))).await.unwrap_err();
    assert_eq!(failure(&nobody), (Code::Internal, "INTERNAL".to_owned()));
    assert!(metric(process.admin, "cognito_lookup_audit_records_dropped_total").await >= 1.0);

    let full = trail.text();
    fs::write(&trail.path, "").unwrap();
    users.get_user(with_request_id("second", about(ADA))).await.unwrap();
    process.wait_for_log("audit records are written again");
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
    let ids = request_ids(&(full + &trail.text()));
    // The last record may be of a refused reply, if it was written only in part.
    assert!(ids.starts_with(&answered) && ids.len() <= answered.len() + 2, "{ids:?}");
    assert_eq!(ids.last().map(String::as_str), Some("second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_moved_away_from_a_full_disk_has_only_whole_lines() {
    for required in [true, false] {
        let (trail, cognito) = (Trail::new(), standin());
        let settings = trail.settings(&format!("required = {required}\n[shutdown]\ndelay = \"0s\""));
        let process = Process::serve_with_shell(SMALL_DISK, &cognito, &settings, &[]);
        let mut users = UserServiceClient::new(connect(process.address.parse().unwrap()).await);
        let mut ids = Vec::new();
        for n in 0..70 {
            let answer = users.get_user(with_request_id(&format!("{n}"), about(ADA))).await;
            ids.extend(answer.is_ok().then(|| n.to_string()));
        }
        process.wait_for_log("audit records cannot be written");
        let moved = trail.folder.path().join("audit.1");
        fs::rename(&trail.path, &moved).unwrap();
        process.signal("HUP");
        process.wait_for_log("audit sink reopened");
        users.get_user(with_request_id("last", about(ADA))).await.unwrap();
        process.signal("TERM");
        assert_eq!(process.wait(), Some(0));
        let (moved, text) = (fs::read_to_string(moved).unwrap(), trail.text());
        assert!(moved.len() > 15_000 && moved.ends_with('\n'), "{required}: {moved}");
        // The first record that did not fit is kept, although its call was refused.
        let mut written = request_ids(&(moved + &text));
        assert_eq!(written.pop().as_deref(), Some("last"));
        assert!(written.starts_with(&ids) && written.len() <= ids.len() + 1, "{required}: {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_ready_only_while_required_records_can_be_written() {
    let (trail, cognito) = (Trail::new(), standin());
    let settings = trail.settings("required = true\n[shutdown]\ndelay = \"0s\"");
    let process = Process::serve_with_shell(SMALL_DISK, &cognito, &settings, &[]);
    let channel = connect(process.address.parse().unwrap()).await;
    let mut users = UserServiceClient::new(channel.clone());
    assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    while users.get_user(Request::new(about(ADA))).await.is_ok() {}
    wait_for_readiness(&process, 503).await;
    let health = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::NotServing);
    // No call comes to a server that is not ready, so it finds the room by itself.
    fs::write(&trail.path, "").unwrap();
    wait_for_readiness(&process, 200).await;
    users.get_user(Request::new(about(ADA))).await.unwrap();
}

async fn wait_for_readiness(process: &Process, status: u16) {
    for _ in 0..6_000 {
        if http_get(process.admin, "/readyz").await.0 == status {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("/readyz never answers {status}");
}

#[tokio::test]
async fn a_full_disk_refuses_calls_only_where_audit_is_required() {
    for required in [true, false] {
        let app = App::start_with_config(|config| {
            config.audit.path = Some("/dev/full".into());
            config.audit.required = required;
        })
        .await;
        let answers = [app.get_by_sub(ADA).await, app.get_by_token(&app.token("ada")).await];
        for answer in answers {
            assert_eq!(answer.map_err(|status| failure(&status).0).is_ok(), !required);
        }
        let dropped = app.metric("cognito_lookup_audit_records_dropped_total").await;
        assert_eq!(dropped, if required { 2.0 } else { 0.0 }, "what is not required waits for room");
    }
}

#[tokio::test]
async fn a_sink_that_cannot_be_opened_prevents_the_start() {
    let cognito = standin();
    let mut config = config(&cognito);
    config.audit.path = Some("/proc/audit.jsonl".into());
    let listeners = Listeners::bind(&config).await.unwrap();
    let error = serve(config, listeners, std::future::pending()).await.unwrap_err().to_string();
    assert!(error.starts_with("the audit sink /proc/audit.jsonl cannot be opened"), "{error}");
}

/// Returns whether the process logged this message at its start.
fn has_logged(process: &Process, message: &str) -> bool {
    process.start.iter().any(|line| line["message"] == message)
}

fn with_request_id(request_id: &str, message: GetUserRequest) -> Request<GetUserRequest> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    request
}

/// Returns the request ids of all lines. Panics if a line is not whole.
fn request_ids(text: &str) -> Vec<String> {
    let record =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line:?} is torn"));
    text.lines().map(|line| record(line)["request_id"].as_str().unwrap().to_owned()).collect()
}

/// A folder with an audit file and a key.
pub(crate) struct Trail {
    folder: TempDir,
    path: PathBuf,
}

impl Trail {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(folder.path().join("key"), "00112233445566778899aabbccddeeff\n").unwrap();
        Self { folder, path }
    }

    /// Sets the audit settings that write to this file.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Config)) -> impl FnOnce(&mut Config) {
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

    /// Returns the same settings as TOML, with `more` in the table `audit`.
    fn settings(&self, more: &str) -> String {
        let path = self.path.display().to_string();
        format!("listen = \"127.0.0.1:0\"\n[audit]\nsink = \"file\"\npath = {path:?}\n{more}")
    }

    fn pipe(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }

    /// Starts a server with a shell command that connects its standard output to `$PIPE`.
    fn piped(&self, line: &str, cognito: &StandIn) -> Process {
        assert!(Command::new("mkfifo").arg(self.pipe()).status().unwrap().success());
        let settings = "listen = \"127.0.0.1:0\"\nworkers = 1\n[audit]\nmax_bytes = \"512KiB\"\n[shutdown]\ndelay = \"0s\"";
        Process::serve_with_shell(line, cognito, settings, &[("PIPE", self.pipe().to_str().unwrap())])
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    fn key(&self) -> cognito_lookup::audit::Key {
        let mut config = Config::default();
        self.set(|_| {})(&mut config);
        let mut errors = cognito_lookup::config::ErrorCollector::new(&config);
        cognito_lookup::audit::read_keys(&config, &mut errors).unwrap().remove(0)
    }

    /// Returns the hash that replaces the `sub` in a record.
    pub(crate) fn hash(&self, pool: &str, sub: &str) -> Value {
        self.key().hash(&pool.parse().unwrap(), &sub.parse().unwrap()).to_string().into()
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    pub(crate) fn outcomes(&self) -> Vec<String> {
        self.records().iter().map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the file has `count` records.
    pub(crate) async fn holds(&self, count: usize) {
        for _ in 0..6_000 {
            // Lines are counted, not parsed: the last may be incomplete.
            if self.text().matches('\n').count() >= count {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{}", self.text());
    }
}
