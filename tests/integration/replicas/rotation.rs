use std::{fs, time::Duration};

use cognito_lookup::proto::Source;
use tokio::time::sleep;

use super::{
    fleet::{Fleet, sub},
    load::{Load, WARM},
    settings::Settings,
};
use crate::{
    store::server::{Engine, Mode, Server, tls_settings},
    support::{
        certificates::{Authority, Files},
        source,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn value_keys_rotate_under_load() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::without_replicas(store.address);
    fleet.write_keys(["one", "zero"]);
    let settings = Settings {
        value_keys: vec!["keys/first", "keys/second"],
        cache: format!("fresh_for = \"1s\"\nusable_for = \"{USABLE_FOR}s\"\n"),
        ..Settings::default()
    };
    for _ in 0..3 {
        fleet.join(&settings).await;
    }
    fleet.connected().await;
    let load = Load::start(&fleet).await;
    let mut unread = WARM..;
    let mut first_reads = Vec::new();
    // Add the next key everywhere; seal with it; remove the last one, once nothing of it is usable.
    for keys in [["one", "two"], ["two", "one"], ["two", "three"]] {
        if keys == ["two", "three"] {
            sleep(Duration::from_secs(USABLE_FOR + 1)).await;
        }
        fleet.write_keys(keys);
        for replica in &fleet.replicas {
            replica.process.signal("HUP");
            replica.process.wait_for_log("the value keys of the shared cache were reloaded");
            // While the others still have the previous keys.
            fleet.shares(&mut unread).await;
        }
        fleet.replicas[0].expire(&sub(0)).await.unwrap();
        let user = unread.next().unwrap();
        fleet.replicas[0].get(&sub(user)).await.unwrap();
        first_reads.push(user);
        load.assert_none_failed(&format!("with {keys:?}")).await;
    }
    // Also those of the first key, whose entries the store still has.
    for user in first_reads {
        fleet.replicas[1].get(&sub(user)).await.unwrap();
    }
    assert!(fleet.sum("opened_total", "Previous").await > 0.0);
    assert_eq!(fleet.sum("unreadable_total", "").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_rotates_under_load() {
    let store = Server::start_with(Engine::Valkey, Mode::Plain, "requirepass one").await;
    let mut fleet = Fleet::without_replicas(store.address);
    fleet.write("password", "one\n");
    let settings = Settings::with(&format!("password_file = {:?}", fleet.path("password")));
    for _ in 0..2 {
        fleet.join(&settings).await;
    }
    fleet.connected().await;
    let load = Load::start(&fleet).await;
    let mut admin = store.client().await;
    admin.text("AUTH one").await;
    admin.text("CONFIG SET requirepass two").await;
    // Those that are open stay.
    fleet.shares(WARM..).await;
    admin.command("CLIENT KILL TYPE normal").await.unwrap();
    fleet.disconnected().await;
    load.assert_none_failed("with the old password").await;
    fleet.write("password", "two\n");
    fleet.connected().await;
    fleet.shares(1_000..).await;
    load.assert_none_failed("with the new password").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_authority_rotates_under_load() {
    let [old, new] = ["old", "new"].map(Authority::new);
    let files = Files::new(&old.server(), &old);
    let store = Server::start_with(Engine::Redis, Mode::Tls, &tls_settings(&files, false)).await;
    let mut fleet = Fleet::without_replicas(store.address);
    fleet.write("ca.pem", &old.pem);
    let servers = format!(
        "url = \"rediss://localhost:{}\"\nca_file = {:?}",
        store.address.port(),
        fleet.path("ca.pem")
    );
    for _ in 0..2 {
        fleet.join(&Settings { servers: Some(servers.clone()), ..Settings::default() }).await;
    }
    fleet.connected().await;
    let load = Load::start(&fleet).await;
    let mut admin = store.client().await;
    fleet.write("ca.pem", &format!("{}{}", old.pem, new.pem));
    files.write(&new.server());
    let path = |name| files.path(name).display().to_string();
    let reload =
        format!("CONFIG SET tls-cert-file {} tls-key-file {}", path("server.pem"), path("server.key"));
    admin.text(&reload).await;
    for (ca, mut users) in [(None, 1_000..), (Some(&new.pem), 1_500..)] {
        if let Some(ca) = ca {
            fleet.write("ca.pem", ca);
        }
        let before = fleet.sum("reconnects_total", "Closed").await;
        admin.command("CLIENT KILL TYPE normal").await.unwrap();
        super::replica::until("noticed", async || {
            fleet.sum("reconnects_total", "Closed").await >= before + 4.0
        })
        .await;
        fleet.connected().await;
        fleet.shares(&mut users).await;
        load.assert_none_failed("with another authority").await;
    }
    // The control: the old authority alone does not do.
    fleet.write("ca.pem", &old.pem);
    admin.command("CLIENT KILL TYPE normal").await.unwrap();
    fleet.disconnected().await;
    assert_eq!(source(&fleet.replicas[0].get(&sub(1_900)).await.unwrap()), Source::Cognito);
    drop(fs::remove_file(fleet.path("ca.pem")));
}

/// In seconds.
const USABLE_FOR: u64 = 2;
