//! Messages about users that nobody asks for: `tests/run unit` selects this test by its name.

use super::*;
use crate::cache::resident;

/// A hundred thousand messages may take as much memory as the bounded sets of what was applied, and no
/// more: ten times as many take the same.
#[tokio::test]
#[ignore = "its memory must be the process's: `cargo test --lib memory -- --ignored --nocapture --test-threads 1`"]
async fn messages_about_unknown_users_take_no_memory() {
    let applier = applier(&nobody(), [pool()]);
    let names =
        ["UpdateUserAttributes", "AdminAddUserToGroup", "AdminEnableUser", "SignUp", "ChangePassword"];
    let bodies = names.map(|name| admin_call(name, "SUB", &applier.pool_id()));
    let mut handled = 0;
    let mut send = async |messages: usize| {
        for _ in 0..messages {
            let sub = format!("unknown-5a4d-4b0c-8000-{handled:012}");
            let body = bodies[handled % names.len()].replace("SUB", &sub);
            assert!(applier.handle(&body, 1).await);
            handled += 1;
        }
        resident()
    };
    let before = send(10_000).await;
    let taken = send(100_000).await - before;
    println!("100,000 messages about unknown users: {} KiB", taken >> 10);
    assert!(taken < 8 << 20, "{taken} bytes");
    assert_eq!(
        applier.users.state_of(&applier.pool_id(), &"unknown".parse().unwrap()),
        EntryState::NotCached
    );
}
