use std::{collections::BTreeSet, time::Duration};

use cognito_lookup::{
    config::{AuditSink, CallerSettings, Config, Reads},
    proto::{
        ChangeKind, Checkpoint, ExpireUserRequest, RevokeTokensRequest, UserChange, WatchUsersRequest,
        WatchUsersResponse, admin_service_client::AdminServiceClient,
        health::health_check_response::ServingStatus, user_service_client::UserServiceClient,
        watch_users_response::Event,
    },
};
use cognito_standin::SigningKey;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    events::own_queue,
    support::{ADA, App, BOB, GRACE, canary, connect, failure, standin},
};

/// A stream of changes, with the token of its last message.
pub(crate) struct Watch {
    stream: Streaming<WatchUsersResponse>,
    pub(crate) token: String,
    first: Option<Checkpoint>,
}

impl Watch {
    /// Opens a stream, and reads its first checkpoint.
    pub(crate) async fn open(channel: &Channel, message: WatchUsersRequest) -> Result<Self, Status> {
        Self::open_with(channel, Request::new(message)).await
    }

    async fn open_with(channel: &Channel, request: Request<WatchUsersRequest>) -> Result<Self, Status> {
        let stream = UserServiceClient::new(channel.clone()).watch_users(request).await;
        let stream = stream.inspect_err(canary::status)?.into_inner();
        let mut watch = Self { stream, token: String::new(), first: None };
        match watch.next().await? {
            Event::Checkpoint(first) => watch.first = Some(first),
            Event::Change(_) => panic!("the first message is a checkpoint"),
        }
        Ok(watch)
    }

    async fn next(&mut self) -> Result<Event, Status> {
        let message = timeout(PATIENCE, self.stream.message()).await.expect("a message in time")?;
        let message = message.expect("a stream ends with a status");
        assert!((1..=256).contains(&message.resume_token.len()), "{}", message.resume_token.len());
        self.token = message.resume_token;
        Ok(message.event.expect("one of the two"))
    }

    pub(crate) async fn change(&mut self) -> UserChange {
        self.next_change().await.unwrap()
    }

    /// As [`change`](Self::change), or returns why the stream ended.
    pub(crate) async fn next_change(&mut self) -> Result<UserChange, Status> {
        loop {
            if let Event::Change(change) = self.next().await? {
                return Ok(change);
            }
        }
    }

    async fn checkpoint(&mut self) -> Checkpoint {
        match self.next().await.unwrap() {
            Event::Checkpoint(checkpoint) => checkpoint,
            Event::Change(_) => panic!("a change instead of a checkpoint"),
        }
    }

    /// Reads until the stream ends, and adds the users that changed. Returns also the last token.
    pub(crate) async fn hear_until_end(&mut self, heard: &mut BTreeSet<String>) -> (Status, String) {
        loop {
            match self.next().await {
                Ok(Event::Change(change)) => drop(heard.insert(change.sub)),
                Ok(Event::Checkpoint(_)) => {}
                Err(status) => return (status, self.token.clone()),
            }
        }
    }

    /// Reads until the stream ends.
    pub(crate) async fn end(mut self) -> (Status, String) {
        loop {
            if let Err(status) = self.next().await {
                canary::status(&status);
                return (status, self.token);
            }
        }
    }
}

/// This machine may watch and administer, and so may the app client with a token that has its
/// scope.
pub(crate) fn watching(config: &mut Config) {
    config.callers[1].watch = true;
    config.callers[1].admin = true;
    config.callers[0].scope = Some(SCOPE.to_owned());
    config.callers[0].reads = Reads::Any;
    config.callers[0].watch = true;
    config.callers.push(CallerSettings {
        name: "other".to_owned(),
        app_client: Some(MACHINE.to_owned()),
        scope: Some("user-lookup/read".to_owned()),
        reads: Reads::Any,
        attributes: vec!["name".to_owned()],
        ..CallerSettings::default()
    });
    config.pools[0].app_clients.push(MACHINE.to_owned());
}

fn signed(app: &App, claims: &Value) -> String {
    app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), claims)
}

fn about(subs: &[&str]) -> WatchUsersRequest {
    let subs = subs.iter().map(ToString::to_string).collect();
    WatchUsersRequest { subs, ..WatchUsersRequest::default() }
}

fn resuming(watch: &Watch, message: WatchUsersRequest) -> WatchUsersRequest {
    WatchUsersRequest { resume_token: watch.token.clone(), ..message }
}

pub(crate) async fn expire(app: &App, sub: &str) {
    let request = ExpireUserRequest { sub: sub.to_owned(), ..ExpireUserRequest::default() };
    AdminServiceClient::new(app.channel.clone()).expire_user(request).await.unwrap();
}

async fn sign_out(app: &App, sub: &str) {
    let request = RevokeTokensRequest { sub: sub.to_owned(), ..RevokeTokensRequest::default() };
    AdminServiceClient::new(app.channel.clone()).revoke_tokens(request).await.unwrap();
}

#[tokio::test]
async fn a_stream_hears_of_its_users_and_kinds_and_continues_where_it_ended() {
    let app = App::start_with_config(watching).await;
    let signed_out = WatchUsersRequest { kinds: vec![ChangeKind::SignedOut.into()], ..about(&[]) };
    let mut all = Watch::open(&app.channel, about(&[])).await.unwrap();
    let mut ada = Watch::open(&app.channel, about(&[ADA, GRACE])).await.unwrap();
    let mut kinds = Watch::open(&app.channel, signed_out.clone()).await.unwrap();
    expire(&app, BOB).await;
    expire(&app, ADA).await;
    sign_out(&app, GRACE).await;
    let change = all.change().await;
    assert_eq!((change.sub.as_str(), change.user_pool_id.as_str()), (BOB, app.cognito.pool_id()));
    let of_any_kind = [ChangeKind::Attributes, ChangeKind::Groups, ChangeKind::Status];
    assert_eq!(change.kinds().collect::<Vec<_>>(), of_any_kind);
    assert!(change.seen_at.is_some() && change.changed_at.is_none() && change.tokens_issued_until.is_none());
    assert_eq!(all.change().await.sub, ADA);
    assert_eq!(all.change().await.sub, GRACE);
    assert_eq!(ada.change().await.sub, ADA, "nothing of others");
    let grace = ada.change().await;
    assert_eq!(grace.kinds().collect::<Vec<_>>(), [ChangeKind::SignedOut]);
    assert!(grace.tokens_issued_until.is_some());
    assert_eq!(kinds.change().await.sub, GRACE, "no other kind");

    // What changes while nobody listens comes with the last token, also if other users changed.
    drop(ada.stream);
    expire(&app, GRACE).await;
    expire(&app, BOB).await;
    let again = WatchUsersRequest { resume_token: ada.token, ..about(&[GRACE, ADA, ADA]) };
    let mut ada = Watch::open(&app.channel, again).await.unwrap();
    assert_eq!(ada.change().await.sub, GRACE);
    expire(&app, ADA).await;
    assert_eq!(ada.change().await.sub, ADA, "and then what comes");
    let of_kind = |kind: &str| format!("cognito_lookup_watch_changes_total{{kind=\"{kind}\"}}");
    assert_eq!(app.metric(&of_kind("SignedOut")).await, 3.0);
    assert_eq!(app.metric("cognito_lookup_watch_streams").await, 3.0);
}

/// Starts a service that receives from a queue of its own.
async fn with_events() -> App {
    let cognito = standin();
    let events = own_queue(&cognito);
    let app = App::start_unready(cognito, move |config| {
        watching(config);
        config.events = events;
    })
    .await;
    app.wait_for_health(ServingStatus::Serving).await;
    app.wait_for_metric("cognito_lookup_events_polled_timestamp_seconds", |time| time > 0.0).await;
    app
}

#[tokio::test]
async fn a_deleted_group_ends_the_streams_that_hear_of_groups() {
    let app = with_events().await;
    let all = Watch::open(&app.channel, about(&[])).await.unwrap();
    let of_attributes = WatchUsersRequest { kinds: vec![ChangeKind::Attributes.into()], ..about(&[]) };
    let mut other = Watch::open(&app.channel, of_attributes).await.unwrap();
    app.cognito.send_message(app.cognito.event("DeleteGroup", ADA).to_string());
    // Anybody may have been in it.
    let (status, token) = all.end().await;
    let lost = (Code::OutOfRange, "RESUME_TOKEN_EXPIRED".to_owned());
    assert_eq!(failure(&status), lost);
    let again = WatchUsersRequest { resume_token: token, ..about(&[]) };
    assert_eq!(failure(&Watch::open(&app.channel, again).await.map(drop).unwrap_err()), lost);
    let mut all = Watch::open(&app.channel, about(&[])).await.unwrap();
    app.cognito.send_message(app.cognito.event("AdminUpdateUserAttributes", BOB).to_string());
    assert_eq!((all.change().await.sub, other.change().await.sub), (BOB.to_owned(), BOB.to_owned()));
}

#[tokio::test]
async fn a_change_event_is_told_once_with_its_time() {
    let app = with_events().await;
    let mut watch = Watch::open(&app.channel, about(&[])).await.unwrap();
    app.get_by_sub(ADA).await.unwrap();
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    app.cognito.send_message(app.cognito.event("AdminUpdateUserAttributes", ADA).to_string());
    let change = watch.change().await;
    assert_eq!(
        (change.sub.as_str(), change.kinds().collect::<Vec<_>>()),
        (ADA, vec![ChangeKind::Attributes])
    );
    assert!(change.changed_at.is_some() && change.seen_at.is_some());
    // The fetch that follows finds what was told already.
    let now = cognito_lookup::proto::get_user_request::Freshness::NotOlderThan(change.seen_at.unwrap());
    let again = cognito_lookup::proto::GetUserRequest { freshness: Some(now), ..crate::support::about(ADA) };
    let read = app.get_user(Request::new(again)).await.unwrap();
    assert_eq!(read.user.unwrap().attributes["name"], "Changed");
    app.cognito.send_message(app.cognito.event("AdminUserGlobalSignOut", BOB).to_string());
    let change = watch.change().await;
    assert_eq!((change.sub.as_str(), change.kinds().collect::<Vec<_>>()), (BOB, vec![ChangeKind::SignedOut]));
    assert!(change.tokens_issued_until.is_some());
    let mut healthy = Watch::open(&app.channel, about(&[ADA])).await.unwrap();
    assert!(healthy.first.take().unwrap().source_healthy);
}

#[tokio::test]
async fn a_fetch_that_finds_a_difference_tells_of_it() {
    let app = App::start_with_config(watching).await;
    let mut watch = Watch::open(&app.channel, about(&[])).await.unwrap();
    app.get_by_sub(ADA).await.unwrap();
    let rename = |name: &str| {
        let name = name.to_owned();
        app.cognito.update_user("ada", |ada| drop(ada.attributes.insert("name".to_owned(), name))).unwrap();
    };
    let fetch = || async {
        let request = cognito_lookup::proto::GetUserRequest {
            freshness: crate::support::max_age(0),
            ..crate::support::about(ADA)
        };
        app.get_user(Request::new(request)).await.unwrap();
    };
    fetch().await;
    rename("Changed");
    fetch().await;
    let change = watch.change().await;
    assert_eq!(
        (change.sub.as_str(), change.kinds().collect::<Vec<_>>()),
        (ADA, vec![ChangeKind::Attributes])
    );
    // What was announced as expired is not told again when it is fetched.
    expire(&app, ADA).await;
    assert_eq!(watch.change().await.kinds.len(), 3);
    rename("Once more");
    fetch().await;
    app.cognito.update_user("ada", |ada| ada.enabled = false).unwrap();
    fetch().await;
    assert_eq!(watch.change().await.kinds().collect::<Vec<_>>(), [ChangeKind::Disabled]);
}

#[tokio::test]
async fn nobody_watches_without_the_grant_or_with_the_token_of_another() {
    let app = App::start_with_config(watching).await;
    let with = |token: &str, message: WatchUsersRequest| {
        canary::token(token);
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    let mine = Watch::open(&app.channel, about(&[ADA])).await.unwrap();
    let web = app.cognito.machine_token(WEB_MACHINE, &[SCOPE]);
    let other = app.cognito.machine_token(MACHINE, &["user-lookup/read"]);
    let scopeless = app.cognito.machine_token(MACHINE, &["x/y"]);
    let forged = WatchUsersRequest { resume_token: "A".repeat(130), ..about(&[ADA]) };
    let swapped = if &mine.token[40..41] == "A" { "B" } else { "A" };
    let altered = format!("{}{swapped}{}", &mine.token[..40], &mine.token[41..]);
    let altered = WatchUsersRequest { resume_token: altered, ..about(&[ADA]) };
    let other_filter = resuming(&mine, about(&[ADA, BOB]));
    let other_kinds = WatchUsersRequest { kinds: vec![1], ..resuming(&mine, about(&[ADA])) };
    let (denied, invalid) = (Code::PermissionDenied, Code::InvalidArgument);
    let table = [
        ("without the grant", with(&other, about(&[ADA])), denied, "CALLER_NOT_ALLOWED"),
        ("without the grant, for all", with(&other, about(&[])), denied, "CALLER_NOT_ALLOWED"),
        (
            "without it, with a token of another",
            with(&other, resuming(&mine, about(&[ADA]))),
            denied,
            "CALLER_NOT_ALLOWED",
        ),
        ("without its scope", with(&scopeless, about(&[ADA])), denied, "SCOPE_MISSING"),
        (
            "another caller's token",
            with(&web, resuming(&mine, about(&[ADA]))),
            invalid,
            "RESUME_TOKEN_INVALID",
        ),
        ("another filter", Request::new(other_filter), invalid, "RESUME_TOKEN_INVALID"),
        ("other kinds", Request::new(other_kinds), invalid, "RESUME_TOKEN_INVALID"),
        ("a forged token", Request::new(forged), invalid, "RESUME_TOKEN_INVALID"),
        ("an altered token", Request::new(altered), invalid, "RESUME_TOKEN_INVALID"),
        ("a bad sub", Request::new(about(&["a b"])), invalid, "SUB_MALFORMED"),
        (
            "an unknown pool",
            Request::new(WatchUsersRequest { user_pool_id: "eu-west-1_Other".into(), ..about(&[]) }),
            invalid,
            "FIELD_INVALID",
        ),
        ("a bad credential", with("x.y.z", about(&[])), Code::Unauthenticated, "TOKEN_MALFORMED"),
    ];
    for (case, request, code, reason) in table {
        let refused = Watch::open_with(&app.channel, request).await.map(drop).unwrap_err();
        assert_eq!(failure(&refused), (code, reason.to_owned()), "{case}");
        assert!(refused.get_details_request_info().is_some(), "{case}");
    }
    assert_eq!(app.metric("cognito_lookup_watch_streams").await, 1.0);
}

#[tokio::test]
async fn a_callers_streams_and_those_of_the_process_are_limited() {
    let app = App::start_with_config(|config| {
        watching(config);
        config.watch.streams_per_caller = 2;
        config.watch.streams = 3;
    })
    .await;
    let token = app.cognito.machine_token(WEB_MACHINE, &[SCOPE]);
    let as_web = || {
        let mut request = Request::new(about(&[]));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    let first = Watch::open(&app.channel, about(&[])).await.unwrap();
    let _second = Watch::open(&app.channel, about(&[ADA])).await.unwrap();
    let third = Watch::open(&app.channel, about(&[])).await.map(drop).unwrap_err();
    let limit = (Code::ResourceExhausted, "WATCH_LIMIT".to_owned());
    assert_eq!(failure(&third), limit);
    assert!(third.get_details_retry_info().is_some());
    let web = Watch::open_with(&app.channel, as_web()).await.unwrap();
    assert_eq!(failure(&Watch::open_with(&app.channel, as_web()).await.map(drop).unwrap_err()), limit);
    // A stream that its client leaves makes room.
    drop((first, web));
    app.wait_for_metric("cognito_lookup_watch_streams", |streams| streams == 1.0).await;
    Watch::open(&app.channel, about(&[])).await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_its_age_its_connection_and_the_server_and_continues_elsewhere() {
    type Change = fn(&mut Config);
    let ends: [(&str, Change); 3] = [
        ("its age", |config| config.watch.max_age = Duration::from_millis(100)),
        ("its connection", |config| config.limits.connection_age = Duration::from_millis(100)),
        ("the server", |_| {}),
    ];
    for (case, change) in ends {
        let mut app = App::start_with_config(|config| {
            watching(config);
            change(config);
        })
        .await;
        let channel = connect(app.address).await;
        let watch = Watch::open(&channel, about(&[ADA])).await.unwrap();
        if case == "the server" {
            app.stop();
        }
        let (status, token) = watch.end().await;
        assert_eq!(failure(&status), (Code::Unavailable, "WATCH_ENDED".to_owned()), "{case}");
        assert!(status.get_details_retry_info().is_some(), "{case}");
        if case != "the server" {
            expire(&app, ADA).await;
            let again = WatchUsersRequest { resume_token: token, ..about(&[ADA]) };
            let channel = connect(app.address).await;
            assert_eq!(Watch::open(&channel, again).await.unwrap().change().await.sub, ADA, "{case}");
        }
    }
}

#[tokio::test]
async fn a_token_of_another_process_is_too_old() {
    let [first, second] = [App::start_with_config(watching).await, App::start_with_config(watching).await];
    let watch = Watch::open(&first.channel, about(&[ADA])).await.unwrap();
    let refused = Watch::open(&second.channel, resuming(&watch, about(&[ADA]))).await.map(drop).unwrap_err();
    assert_eq!(failure(&refused), (Code::OutOfRange, "RESUME_TOKEN_EXPIRED".to_owned()));
    assert!(refused.get_details_retry_info().is_none());
    Watch::open(&second.channel, about(&[ADA])).await.unwrap();
}

#[tokio::test]
async fn a_users_token_watches_that_user_until_it_is_revoked() {
    let app = App::start_with_config(watching).await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["scope"] = SCOPE.into();
    let token = signed(&app, &claims);
    let with = |message: WatchUsersRequest| {
        canary::token(&token);
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    let other = Watch::open_with(&app.channel, with(about(&[BOB]))).await.map(drop).unwrap_err();
    assert_eq!(failure(&other), (Code::InvalidArgument, "SUBJECT_AMBIGUOUS".to_owned()));
    let mut watch = Watch::open_with(&app.channel, with(about(&[]))).await.unwrap();
    expire(&app, BOB).await;
    expire(&app, ADA).await;
    assert_eq!(watch.change().await.sub, ADA);
    sign_out(&app, ADA).await;
    let (status, _) = watch.end().await;
    assert_eq!(failure(&status), (Code::Unauthenticated, "TOKEN_REVOKED".to_owned()));
    assert_eq!(app.metric("cognito_lookup_watch_cuts_total{reason=\"Credential\"}").await, 1.0);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let app = App::start_with_config(watching).await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["scope"] = SCOPE.into();
    // Tokens are valid for 10 s more.
    claims["exp"] = (claims["iat"].as_i64().unwrap() - 8).into();
    claims["iat"] = (claims["iat"].as_i64().unwrap() - 600).into();
    let token = signed(&app, &claims);
    let mut request = Request::new(about(&[]));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let watch = Watch::open_with(&app.channel, request).await.unwrap();
    let (status, _) = watch.end().await;
    assert_eq!(failure(&status), (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()));
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_continues_without_a_gap() {
    let app = App::start_with_config(watching).await;
    let endpoint = Channel::from_shared(format!("http://{}", app.address)).unwrap();
    let narrow = endpoint.initial_stream_window_size(1_024).connect().await.unwrap();
    let watch = Watch::open(&narrow, about(&[])).await.unwrap();
    let users: BTreeSet<_> = (0..1_700).map(|n| format!("user-{n}")).collect();
    for user in &users {
        expire(&app, user).await;
    }
    // Meanwhile others are served on the same connection.
    UserServiceClient::new(narrow.clone()).get_user(crate::support::about(ADA)).await.unwrap();
    let (mut heard, mut watch) = (BTreeSet::new(), watch);
    let (status, _) = watch.hear_until_end(&mut heard).await;
    assert_eq!(failure(&status), (Code::ResourceExhausted, "WATCH_TOO_SLOW".to_owned()));
    assert!(heard.len() < users.len(), "{}", heard.len());
    let mut again = Watch::open(&app.channel, resuming(&watch, about(&[]))).await.unwrap();
    while heard.len() < users.len() {
        heard.insert(again.change().await.sub);
    }
    assert_eq!(heard, users);
}

#[tokio::test]
async fn a_stream_leaves_records_without_a_sub() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("audit.jsonl");
    for required in [false, true] {
        let mut app = App::start_with_config(|config| {
            watching(config);
            config.audit.sink = AuditSink::File;
            config.audit.path = Some(path.display().to_string());
            config.audit.required = required;
        })
        .await;
        let mut watch = Watch::open(&app.channel, about(&[ADA, BOB])).await.unwrap();
        sign_out(&app, ADA).await;
        watch.change().await;
        let token = "x.y.z";
        let mut refused = Request::new(about(&[ADA]));
        refused.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        Watch::open_with(&app.channel, refused).await.map(drop).unwrap_err();
        app.stop();
        watch.end().await;
        app.wait_until_stopped().await;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!text.contains(ADA) && !text.contains(BOB), "{text}");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let watching: Vec<_> =
            records.filter(|record| record["method"] == "userlookup.v1.UserService/WatchUsers").collect();
        let outcomes: Vec<_> = watching.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
        let mut sorted = outcomes.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, ["TOKEN_MALFORMED", "WATCH_ENDED", "opened", "sent"]);
        let of = |outcome: &str| watching.iter().find(|record| record["outcome"] == outcome).unwrap();
        assert_eq!((&of("opened")["users"], &of("opened")["caller"]), (&2.into(), &"sidecar".into()));
        assert_eq!(of("sent")["kinds"], serde_json::json!(["SIGNED_OUT"]));
        assert_eq!(of("sent")["sub_hash"].as_str().unwrap().len(), 64);
        assert_eq!(of("WATCH_ENDED")["changes"], 1);
        assert_eq!(of("sent")["request_id"], of("opened")["request_id"]);
    }
}

#[tokio::test]
async fn a_silent_stream_has_checkpoints() {
    let app = App::start_with_config(watching).await;
    let every = prost_types::Duration { seconds: 10, nanos: 0 };
    let message = WatchUsersRequest { checkpoint_interval: Some(every), ..about(&[ADA]) };
    let mut watch = Watch::open(&app.channel, message).await.unwrap();
    let checkpoint = watch.checkpoint().await;
    assert!(!checkpoint.source_healthy, "there is no queue of changes");
    assert!(checkpoint.seen_through.is_some() && checkpoint.source_lag.is_none());
}

const PATIENCE: Duration = Duration::from_secs(40);
const SCOPE: &str = "user-lookup/watch";
const WEB_MACHINE: &str = crate::support::WEB;
const MACHINE: &str = "sandboxmachine000000000001";
