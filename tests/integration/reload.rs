use std::{thread, time::Duration};

use cognito_lookup::proto::{
    GetUserRequest, MirrorOptions, UserMirror, user_service_client::UserServiceClient,
};
use cognito_standin::StandIn;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{ADA, WEB, connect, failure, http_get, metric, process::Process, standin};

/// The settings of a server with these pools and callers, and an audit file.
struct Settings {
    cognito: StandIn,
    folder: TempDir,
    head: &'static str,
}

const APPLIED: &str = "the pools and callers of the settings were reloaded";
const REFUSED: &str = "the new settings are refused; the previous ones stay in use";
const RELOADS: &str = "cognito_lookup_settings_reloads_total";
/// So rarely that only the signal can cause a reload.
const SELDOM: &str = "[tls]\ncheck_every = \"1h\"\n";
const SIDECAR: &str =
    "name = \"sidecar\"\nnetwork = [\"127.0.0.0/8\"]\nreads = \"any\"\nattributes = [\"name\"]";

impl Settings {
    fn new(head: &'static str) -> Self {
        Self { cognito: standin(), folder: TempDir::new().unwrap(), head }
    }

    fn audit(&self) -> String {
        self.folder.path().join("audit.jsonl").display().to_string()
    }

    fn with(&self, app_client: &str, callers: &[&str]) -> String {
        let pool = format!(
            "[[pools]]\nid = \"{}\"\nissuer = \"{}\"\njwks_url = \"{}\"\nendpoint_url = \"{}\"\napp_clients = [\"{app_client}\"]",
            self.cognito.pool_id(),
            self.cognito.issuer(),
            self.cognito.jwks_url(),
            self.cognito.endpoint_url()
        );
        let callers: String = callers.iter().map(|caller| format!("\n[[callers]]\n{caller}")).collect();
        format!(
            "listen = \"127.0.0.1:0\"\n{}[shutdown]\ndelay = \"0s\"\n[audit]\nsink = \"file\"\npath = {:?}\n{pool}{callers}\n",
            self.head,
            self.audit()
        )
    }

    fn serve(&self, settings: &str) -> Process {
        let process = Process::start_with_settings("exec \"$0\" \"$@\"", settings, &[]).listening();
        process.wait_for_log("serving");
        process
    }

    /// Returns the records of reloads, once there are so many.
    fn reloads(&self, count: usize) -> Vec<Value> {
        self.records("settings.reload", count)
    }

    /// Returns the records of this method, once there are so many.
    fn records(&self, method: &str, count: usize) -> Vec<Value> {
        loop {
            let text = std::fs::read_to_string(self.audit()).unwrap();
            let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let records: Vec<_> = records.filter(|record| record["method"] == method).collect();
            if records.len() >= count {
                return records;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until so many reloads have ended this way. Each is counted after it is logged.
async fn wait_for_reloads(process: &Process, outcome: &str, count: f64) {
    while metric(process.admin, &format!("{RELOADS}{{outcome=\"{outcome}\"}}")).await < count {
        sleep(Duration::from_millis(10)).await;
    }
}

fn caller(name: &str) -> String {
    SIDECAR.replace("sidecar", name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_added_and_removed_by_a_signal_without_a_restart() {
    let settings = Settings::new(SELDOM);
    let process = settings.serve(&settings.with(WEB, &[SIDECAR]));
    let read = || process.client(&["get", "--sub", ADA]);
    assert!(read().unwrap().contains("Ada Lovelace"));
    assert_eq!(settings.cognito.calls("AdminGetUser"), 1);

    let other = caller("other").replace("127.0.0.0/8", "10.0.0.0/8");
    process.rewrite(&settings.with(WEB, &[&other]));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    let refused = read().unwrap_err();
    assert!(refused.contains("TOKEN_MISSING"), "the rule of the file is gone: {refused}");

    process.rewrite(&settings.with(WEB, &[&caller("again")]));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    assert!(read().unwrap().contains("Ada Lovelace"));
    assert_eq!(settings.cognito.calls("AdminGetUser"), 1, "the cache is kept");
    wait_for_reloads(&process, "Applied", 2.0).await;
    let calls = "cognito_lookup_caller_requests_total{caller=\"again\",outcome=\"Answered\"}";
    assert_eq!(metric(process.admin, calls).await, 1.0);

    let records = settings.reloads(2);
    assert_eq!(
        records[0]["settings"],
        serde_json::json!(["callers[other] added", "callers[sidecar] removed"])
    );
    assert_eq!((&records[0]["outcome"], &records[0]["caller"]), (&"applied".into(), &Value::Null));
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_added_by_a_reload_is_told_to_wait_for_a_restart_and_gives_up() {
    let settings = Settings::new(SELDOM);
    let process = settings.serve(&settings.with(WEB, &[SIDECAR]));
    process.rewrite(&settings.with(WEB, &[&format!("{SIDECAR}\nwatch = true")]));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    let refused = process.client(&["watch"]).unwrap_err();
    assert!(refused.contains("CALLER_NOT_ALLOWED") && refused.contains("restart it"), "{refused}");
    let channel = connect(process.address.parse().unwrap()).await;
    let mirror = UserMirror::new(UserServiceClient::new(channel), MirrorOptions::default());
    let status = timeout(Duration::from_secs(40), mirror.watch()).await.expect("it gives up");
    assert_eq!(failure(&status), (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
    assert!(status.message().contains("restart it") && status.get_details_retry_info().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_an_error_change_nothing() {
    let settings = Settings::new(SELDOM);
    let process = settings.serve(&settings.with(WEB, &[SIDECAR]));
    // The first rule is good, and takes no effect either.
    let bad = caller("bad").replace("127.0.0.0/8", "nowhere");
    process.rewrite(&settings.with(WEB, &[&caller("good").replace("127.0.0.0/8", "10.0.0.0/8"), &bad]));
    process.signal("HUP");
    process.wait_for_log(REFUSED);
    assert!(process.client(&["get", "--sub", ADA]).is_ok(), "the previous rule is in use");
    process.rewrite("this is no TOML");
    process.signal("HUP");
    process.wait_for_log(REFUSED);
    wait_for_reloads(&process, "Refused", 2.0).await;
    assert!(settings.reloads(2).iter().all(|record| record["outcome"] == "refused"));

    // What cannot be reloaded is named, and what can be is used.
    let other = settings.with(WEB, &[SIDECAR]).replace("delay = \"0s\"", "delay = \"1s\"");
    process.rewrite(&other);
    process.signal("HUP");
    let log = process.log_until("the pools and callers of the settings are unchanged");
    let ignored: Vec<_> = log.iter().filter_map(|line| line["keys"].as_str()).collect();
    assert_eq!(ignored, ["shutdown.delay"]);
    wait_for_reloads(&process, "Unchanged", 1.0).await;
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_reloaded_by_itself() {
    let settings = Settings::new("[tls]\ncheck_every = \"100ms\"\n");
    let process = settings.serve(&settings.with(WEB, &[SIDECAR]));
    process.rewrite(&settings.with(WEB, &[&caller("other")]));
    process.wait_for_log(APPLIED);
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_a_removed_app_client_are_refused_though_they_were_verified() {
    let web = format!("name = \"web\"\napp_client = \"{WEB}\"\nattributes = [\"name\"]");
    let settings = Settings::new(SELDOM);
    let process = settings.serve(&settings.with(WEB, &[&web, SIDECAR]));
    let token = settings.cognito.access_token("ada").unwrap();
    let read = || process.client_with_token(&["get"], &token);
    assert!(read().unwrap().contains("Ada Lovelace"));
    process.rewrite(&settings.with("another0000000000000000001", &[SIDECAR]));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    let refused = read().unwrap_err();
    assert!(refused.contains("TOKEN_INVALID"), "{refused}");
    process.rewrite(&settings.with(WEB, &[&web, SIDECAR]));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    assert!(read().unwrap().contains("Ada Lovelace"), "the signing keys are kept");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_keys_were_at_a_wrong_url_becomes_ready() {
    let settings = Settings::new(SELDOM);
    let good = settings.with(WEB, &[SIDECAR]);
    let wrong = good.replace(&settings.cognito.jwks_url(), "http://127.0.0.1:1/keys");
    let process = Process::start_with_settings("exec \"$0\" \"$@\"", &wrong, &[]).listening();
    process.wait_for_log("signing keys still could not be fetched");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 503);
    process.rewrite(&good);
    process.signal("HUP");
    process.wait_for_log("serving");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    let ready = format!("cognito_lookup_pool_ready{{pool=\"{}\"}}", settings.cognito.pool_id());
    while metric(process.admin, &ready).await != 1.0 {
        sleep(Duration::from_millis(10)).await;
    }
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_a_reload_is_recorded_with_the_pool_that_it_began_with() {
    let settings = Settings::new(SELDOM);
    let before = settings.with(WEB, &[SIDECAR]);
    let process = settings.serve(&before);
    let hold = settings.cognito.hold("AdminGetUser");
    let mut client = UserServiceClient::connect(format!("http://{}", process.address)).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "awaited below")]
    let reading = tokio::spawn(async move {
        client.get_user(GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() }).await
    });
    while settings.cognito.calls("AdminGetUser") == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let pool = settings.cognito.pool_id();
    process.rewrite(&before.replace(&format!("id = \"{pool}\""), "id = \"eu-west-1_Another\""));
    process.signal("HUP");
    process.wait_for_log(APPLIED);
    drop(hold);
    // Whether it is answered in time or not.
    drop(reading.await.unwrap());
    let records = settings.records("userlookup.v1.UserService/GetUser", 1);
    assert_eq!((&records[0]["pool"], records[0]["sub_hash"].is_string()), (&pool.into(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_ready_if_it_has_what_the_reloaded_settings_need() {
    let settings = Settings::new(SELDOM);
    let good = settings.with(WEB, &[SIDECAR]);
    let bad = good.replace(&format!("{:?}", settings.cognito.jwks_url()), "\"http://127.0.0.1:1\"");
    let process = Process::start_with_settings("exec \"$0\" \"$@\"", &bad, &[]).listening();
    let reload = |settings: &str| {
        process.rewrite(settings);
        process.signal("HUP");
    };
    let pool = format!("cognito_lookup_pool_ready{{pool=\"{}\"}}", settings.cognito.pool_id());
    assert_eq!(http_get(process.admin, "/readyz").await.0, 503);
    reload(&good);
    process.wait_for_log("serving");
    assert_eq!(http_get(process.admin, "/readyz").await.0, 200);
    reload(&good.replace(WEB, "another0000000000000000001"));
    process.wait_for_log(APPLIED);
    let state = (http_get(process.admin, "/readyz").await.0, metric(process.admin, &pool).await);
    assert_eq!(state, (200, 1.0), "it has the keys and credentials");
    reload(&bad);
    process.wait_for_log(APPLIED);
    assert_eq!((http_get(process.admin, "/readyz").await.0, metric(process.admin, &pool).await), (503, 0.0));
}
