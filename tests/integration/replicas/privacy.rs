use std::{fs, path::Path};

use cognito_lookup::{
    proto::{GetUserRequest, Source},
    shared_cache::Reply,
};

use super::{
    fleet::{Fleet, sub},
    insider::Insider,
    settings::Settings,
};
use crate::{
    store::{
        client::{Client, list},
        server::{Engine, Mode, Server},
    },
    support::{about, source, with_token},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_store_the_logs_and_the_metrics_have_nothing_personal() {
    let settings = "appendonly yes\nappendfsync always\naof-use-rdb-preamble no\nrdbcompression no";
    let store = Server::start_with(Engine::Valkey, Mode::Plain, settings).await;
    let mut fleet = Fleet::start(&store, &Settings { log: "trace", ..Settings::default() }).await;
    let tokens = use_everything(&fleet).await;
    let mut seeds = seeds(&fleet, tokens);
    let mut metrics = String::new();
    for replica in &fleet.replicas {
        metrics.push_str(&replica.metrics().await);
    }
    let mut client = store.client().await;
    let dumped = dump(&mut client, store.folder()).await;
    assert!(dumped.len() > 20_000, "only {} bytes: was anything shared?", dumped.len());
    assert_eq!(found(&dumped, &seeds), Vec::<String>::new(), "in the store");
    // The control: one value in the store, and not for long.
    client.command("HSET cl:1:{control} u member-1@example.com").await.unwrap();
    client.command("DEL cl:1:{control}").await.unwrap();
    let control = found(&dump(&mut client, store.folder()).await, &seeds);
    assert_eq!(control, ["member-1@example.com", "member-1"]);

    // Operators know their pool.
    seeds.retain(|seed| seed != fleet.cognito.pool_id());
    assert_eq!(found(metrics.as_bytes(), &seeds), Vec::<String>::new(), "in the metrics");
    let mut log = String::new();
    for replica in fleet.replicas.drain(..) {
        replica.stopped().iter().for_each(|line| log.push_str(&format!("{line}\n")));
    }
    assert!(log.lines().count() > 100 && log.contains("\"TRACE\""), "was anything logged?");
    assert_eq!(found(log.as_bytes(), &seeds), Vec::<String>::new(), "in the log");
}

/// Makes the replicas share users, groups, absences, failures and invalidations. Returns tokens.
async fn use_everything(fleet: &Fleet) -> Vec<String> {
    let tokens: Vec<_> =
        (0..PEOPLE).map(|n| fleet.cognito.access_token(&format!("member-{n}")).unwrap()).collect();
    let [first, second, third] = &fleet.replicas[..] else { panic!() };
    for (n, token) in tokens.iter().enumerate() {
        let with_groups = GetUserRequest { include_groups: true, ..about(&sub(n)) };
        first.get_user(with_groups.clone()).await.unwrap();
        assert_eq!(source(&second.get_user(with_groups).await.unwrap()), Source::SharedCache);
        let request = with_token(token, GetUserRequest::default());
        third.get_user(request).await.unwrap();
    }
    first.get("5eeded00-5a4d-4b0c-8000-nobody").await.unwrap_err();
    fleet.cognito.inject_next("AdminGetUser", 1, cognito_standin::Fault::AccessDenied);
    first.get(&sub(PEOPLE)).await.unwrap_err();
    for n in 0..PEOPLE {
        first.expire(&sub(n)).await.unwrap();
        second.get(&sub(n)).await.unwrap();
        third.erase(&sub(n)).await.unwrap();
        second.get(&sub(n)).await.unwrap();
        first.inspect(&sub(n)).await;
    }
    tokens
}

/// The texts that must appear nowhere.
fn seeds(fleet: &Fleet, tokens: Vec<String>) -> Vec<String> {
    let people = fleet.cognito.users().into_iter().take(PEOPLE + 1);
    let of_people = people
        .flat_map(|user| user.attributes.into_values().chain([user.username, user.sub]).chain(user.groups));
    let signatures = tokens.iter().map(|token| token.rsplit('.').next().unwrap()[..40].to_owned());
    let fixed = [fleet.cognito.pool_id(), "5eeded00-5a4d-4b0c-8000-nobody"].map(ToOwned::to_owned);
    of_people.chain(signatures).chain(fixed).collect()
}

/// Returns all that the server has: each key with its value, and its files, which have the history.
async fn dump(client: &mut Client, folder: &Path) -> Vec<u8> {
    let Reply::Array(keys) = client.command("KEYS *").await.unwrap() else { panic!() };
    let mut all = Vec::new();
    for key in keys.into_iter().flat_map(list) {
        let key = String::from_utf8(key).unwrap();
        for command in ["DUMP", "HGETALL", "GET"] {
            // Of another type.
            let Ok(value) = client.command(&format!("{command} {key}")).await else { continue };
            all.extend(list(value).concat());
        }
        if let Ok(events) = client.command(&format!("XRANGE {key} - +")).await {
            all.extend(list(events).concat());
        }
        all.extend(key.into_bytes());
    }
    files(folder, &mut all);
    all
}

fn files(folder: &Path, all: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, all),
            false if path.ends_with("socket") => {}
            false => all.extend(fs::read(path).unwrap()),
        }
    }
}

/// Returns the seeds that are in a text.
fn found(text: &[u8], seeds: &[String]) -> Vec<String> {
    let is_in = |seed: &&String| text.windows(seed.len()).any(|part| part == seed.as_bytes());
    let mut found: Vec<_> = seeds.iter().filter(is_in).cloned().collect();
    found.dedup();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_moved_does_not_open_and_is_counted() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    let [first, last] = &fleet.replicas[..] else { panic!() };
    let with_groups = |n| GetUserRequest { include_groups: true, ..about(&sub(n)) };
    let mut insider = Insider::new(&fleet, store.client().await);
    let ([one, other], mut unreadable) = ([sub(0), sub(1)], 0.0);
    first.get_user(with_groups(0)).await.unwrap();
    first.get_user(with_groups(1)).await.unwrap();
    // To another user, and to another kind of the same one.
    for (from, to) in [((&*one, "u"), (&*other, "u")), ((&*one, "u"), (&*one, "g"))] {
        insider.copy(from, to).await;
        let n = usize::from(to.0 == other);
        let user = last.get_user(with_groups(n)).await.unwrap().user.unwrap();
        assert_eq!(user.attributes["name"], format!("Member Number {n}"));
        assert_eq!(user.groups, ["gardeners"]);
        let now = last.metric("unreadable_total", "Binding").await;
        assert!(now > unreadable, "{to:?}: {now}");
        unreadable = now;
    }
}

/// How many users are read.
const PEOPLE: usize = 10;
