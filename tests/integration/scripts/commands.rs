//! The commands that the scripts use, and the ACL of a user who may use no other.

use cognito_lookup::shared_cache::Reply;

use super::tour::{status, tour};
use crate::store::{
    client::{Client, list},
    server::{Engine, Server},
};

#[tokio::test]
async fn the_documented_acl_suffices() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = user(&server, &commands(engine).collect::<Vec<_>>()).await;
        for (call, expected) in tour() {
            let hash = client.load(call.script).await;
            let answer = client.eval("EVALSHA", &hash, &call).await;
            assert_eq!(answer.map(status), Ok(expected.to_owned()), "{engine:?}: {call:?}");
        }
        client.command("XREAD COUNT 10 STREAMS cl:e1:{e}:s 0-0").await.unwrap();
        client.text("PING").await;
        client.text("CLIENT SETNAME cl").await;
        for script in ["return redis.call('HGET', 'other', 'u')", "return redis.call('FLUSHALL')"] {
            let call = &tour()[0].0;
            assert!(client.eval("EVAL", script, call).await.is_err(), "{engine:?}: {script}");
        }
        for command in ["KEYS *", "FLUSHALL", "SET cl:a 1", "CONFIG GET *", "HGET other u", "ACL WHOAMI"] {
            let refused = client.command(command).await.unwrap_err();
            assert!(refused.starts_with("NOPERM"), "{engine:?}: {command}: {refused}");
        }
    }
}

#[tokio::test]
async fn every_command_of_the_acl_is_needed() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        for left_out in SCRIPTED {
            server.client().await.text("FLUSHALL").await;
            let allowed: Vec<_> = commands(engine).filter(|command| *command != left_out).collect();
            let mut client = user(&server, &allowed).await;
            let mut answers = Vec::new();
            for (call, _) in tour() {
                answers.push(client.call(&call).await);
            }
            let failed = answers.iter().any(Result::is_err);
            // Without it the run of the server is not known.
            let has_no_run = list(answers.pop().unwrap().unwrap_or(Reply::Nil)).ends_with(&[Vec::new()]);
            assert!(
                if left_out == "info" { has_no_run && !failed } else { failed },
                "{engine:?}: {left_out}"
            );
        }
    }
}

#[test]
fn the_page_about_replicas_has_the_same_acl() {
    let page = include_str!("../../../docs/replicas.md");
    let shown = page.lines().find(|line| line.starts_with("user cognito-lookup on ")).unwrap();
    let mut shown: Vec<_> = shown.split(" +").skip(1).collect();
    let mut expected: Vec<_> = commands(Engine::Valkey).chain(RATE_LIMIT).collect();
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected);
    for rule in ["resetkeys ~cl:* resetchannels -@all", "`client|setinfo`, and refuses"] {
        assert!(page.contains(rule), "{rule}");
    }
}

#[tokio::test]
async fn a_script_is_sent_again_after_the_server_forgot_it() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut client = server.client().await;
        for (call, expected) in tour() {
            let hash = client.load(call.script).await;
            client.text("SCRIPT FLUSH").await;
            let unknown = client.eval("EVALSHA", &hash, &call).await.unwrap_err();
            assert!(unknown.starts_with("NOSCRIPT"), "{engine:?}: {unknown}");
            assert_eq!(client.call(&call).await.map(status), Ok(expected.to_owned()), "{engine:?}: {call:?}");
            assert!(client.eval("EVALSHA", &hash, &call).await.is_ok(), "{engine:?}");
        }
    }
}

/// Makes a user who may use these commands on keys of the namespace `cl`, and logs in.
async fn user(server: &Server, commands: &[&str]) -> Client {
    let mut admin = server.client().await;
    assert_eq!(admin.text(&format!("ACL SETUSER app {}", rules(commands))).await, "OK");
    let mut client = server.client().await;
    assert_eq!(client.text("AUTH app secret").await, "OK");
    client
}

/// Returns the documented rules of a user with the password `secret`.
pub(crate) fn acl(engine: Engine) -> String {
    rules(&commands(engine).chain(RATE_LIMIT).collect::<Vec<_>>())
}

fn rules(commands: &[&str]) -> String {
    let commands: String = commands.iter().map(|command| format!(" +{command}")).collect();
    format!("reset on >secret resetkeys ~cl:* resetchannels -@all{commands}")
}

fn commands(engine: Engine) -> impl Iterator<Item = &'static str> {
    // Redis has it since 7.2, and refuses rules with unknown commands.
    let new = (engine == Engine::Valkey).then_some("client|setinfo");
    SCRIPTED.into_iter().chain(DIRECT).chain(new)
}

/// What the scripts need.
const SCRIPTED: [&str; 14] = [
    "eval",
    "get",
    "hdel",
    "hget",
    "hmget",
    "hset",
    "incr",
    "info",
    "pexpire",
    "pttl",
    "time",
    "xadd",
    "xrevrange",
    "xtrim",
];
/// What the scripts of the shared rate limit use besides.
const RATE_LIMIT: [&str; 8] =
    ["del", "zadd", "zcard", "zcount", "zrangebyscore", "zrem", "zremrangebyscore", "zscore"];
/// What the connection needs.
const DIRECT: [&str; 7] = ["evalsha", "script|load", "xread", "hello", "auth", "ping", "client|setname"];
