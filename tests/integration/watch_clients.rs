use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use cognito_lookup::proto::{MirrorOptions, UserMirror, user_service_client::UserServiceClient};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    support::command::{Sandbox, code, command, run, stderr},
    support::{ADA, App, GRACE, failure},
    watch::{expire, watching},
};

#[tokio::test]
async fn a_mirror_uses_its_copy_until_the_user_changes() {
    let app = App::start_with_config(watching).await;
    let options = MirrorOptions { attributes: vec!["name".to_owned()], ..MirrorOptions::default() };
    let mirror = UserMirror::new(UserServiceClient::new(app.channel.clone()), options);
    let mut tasks = JoinSet::new();
    tasks.spawn(mirror.clone().watch());
    let name = async || mirror.get(ADA).await.unwrap().user.as_ref().unwrap().attributes["name"].clone();
    // Nothing is kept before the first checkpoint.
    let begun = Instant::now();
    while !Arc::ptr_eq(&mirror.get(ADA).await.unwrap(), &mirror.get(ADA).await.unwrap()) {
        assert!(begun.elapsed() < PATIENCE, "no copy is kept");
    }
    let old = name().await;
    app.cognito
        .update_user("ada", |ada| drop(ada.attributes.insert("name".into(), "Changed".into())))
        .unwrap();
    assert_eq!(name().await, old, "it has not heard of it");
    expire(&app, ADA).await;
    let begun = Instant::now();
    while name().await != "Changed" {
        assert!(begun.elapsed() < PATIENCE, "the copy stays");
    }
    // Without the grant it says so, and still reads.
    let app = App::start().await;
    let mirror = UserMirror::new(UserServiceClient::new(app.channel.clone()), MirrorOptions::default());
    assert_eq!(failure(&mirror.clone().watch().await).1, "CALLER_NOT_ALLOWED");
    mirror.get(ADA).await.unwrap();
}

#[test]
fn the_command_prints_changes_and_keeps_its_place() {
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("place").display().to_string();
    let watch = |more: &[&str]| {
        let arguments = [&["watch", "--address", &sandbox.address, "--resume", &place], more].concat();
        let mut process = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        (process, move || lines.next().unwrap().unwrap())
    };
    let expire = |sub| assert_eq!(code(&run(&["expire", "--address", &sandbox.address, sub], &[])), 0);
    let (mut process, mut line) = watch(&[]);
    assert!(line().starts_with("checkpoint 20"));
    expire(GRACE);
    assert!(line().starts_with(&format!("{GRACE} ATTRIBUTES GROUPS STATUS seen 20")));
    // Its place is written after the line.
    let begun = Instant::now();
    while std::fs::read_to_string(&place).unwrap().len() < 100 {
        assert!(begun.elapsed() < PATIENCE);
    }
    std::thread::sleep(Duration::from_millis(100));
    process.kill().unwrap();
    process.wait().unwrap();
    expire(ADA);
    let (mut process, mut line) = watch(&["--json"]);
    assert!(line().contains("\"checkpoint\""));
    let change: Value = serde_json::from_str(&line()).unwrap();
    assert_eq!(change["change"]["sub"], ADA, "what came before is not printed again");
    process.kill().unwrap();
    process.wait().unwrap();
    let refused = run(&["watch", "--address", &sandbox.address, "--resume", &place, "--sub", ADA], &[]);
    assert!((code(&refused), stderr(&refused).contains("RESUME_TOKEN_INVALID")) == (2, true), "{refused:?}");
}

const PATIENCE: Duration = Duration::from_secs(40);
