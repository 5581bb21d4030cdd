use std::time::SystemTime;

use cognito_lookup::{
    proto::Source,
    shared_cache::{
        ServerTime,
        stored::{self, entry},
    },
};
use prost::Message as _;

use super::{
    fleet::{Fleet, sub},
    insider::Insider,
    settings::Settings,
};
use crate::{
    store::server::{Engine, Server},
    support::source,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_only_a_later_version_can_read_is_a_miss_and_is_not_replaced() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::default()).await;
    let mut insider = Insider::new(&fleet, store.client().await);
    let user = sub(0);
    insider.put(&user, |since| of_a_later_version(2, since)).await;
    let before = insider.fields(&user).await;
    for replica in &fleet.replicas {
        for expected in [Source::Cognito, Source::Cache] {
            let read = replica.get(&user).await.unwrap();
            assert_eq!(source(&read), expected);
            assert_eq!(read.user.unwrap().attributes["name"], "Member Number 0");
        }
        assert!(replica.metric("unreadable_total", "TooNew").await >= 1.0);
    }
    assert_eq!(insider.fields(&user).await, before);
    assert_eq!(fleet.lookups(), 3);
}

/// As replicas of two versions share one store while a new one is rolled out.
#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_later_version_are_ignored_and_not_lost() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    let mut insider = Insider::new(&fleet, store.client().await);
    let user = sub(0);
    insider.put(&user, |since| of_a_later_version(1, since)).await;
    let before = insider.fields(&user).await;
    for replica in &fleet.replicas {
        let read = replica.get(&user).await.unwrap();
        assert_eq!(source(&read), Source::SharedCache);
        assert_eq!(read.user.unwrap().attributes["name"], "Later Name");
    }
    assert_eq!(insider.fields(&user).await, before);
    assert_eq!(fleet.lookups(), 0);
    assert_eq!(fleet.sum("unreadable_total", "").await, 0.0);
}

/// An entry with a field and a status that this version does not know.
fn of_a_later_version(min_reader: u32, since: ServerTime) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let name = stored::Attribute { name: "name".to_owned(), value: "Later Name".to_owned() };
    let user = stored::User {
        username: "member-0".to_owned(),
        attributes: vec![name],
        status: 99,
        enabled: true,
        ..stored::User::default()
    };
    let entry = stored::Entry {
        min_reader,
        began_wall_ms: now.as_millis().try_into().unwrap(),
        since_us: since.as_micros().try_into().unwrap(),
        content: Some(entry::Content::User(user)),
    };
    // Field 127, a number.
    [entry.encode_to_vec(), vec![0xf8, 0x07, 7]].concat()
}
