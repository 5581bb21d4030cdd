use std::{sync::mpsc, thread};

use futures_util::FutureExt as _;

use super::*;
use crate::{
    auth::{
        caller::Client,
        claims::Scopes,
        keys::{test_key, test_keys},
    },
    config::{Config, Faults, PoolSettings},
    pool::{ClientId, Pools},
    room::resident,
    telemetry::metrics::TokenMetrics,
    user::Groups,
};

#[test]
fn a_verdict_is_about_every_byte_of_a_token() {
    let verdicts = verdicts();
    put(&verdicts, "header.claims.c2ln", verdict("ada"));
    for other in [
        "header.claims.c2lo",
        // The same signature, if the bits that nobody reads are not looked at.
        "header.claims.c2ln-",
        "header.claims.c2l",
        "header.claims.d2ln",
        "header.claimt.c2ln",
        "headeR.claims.c2ln",
        "header.claims-c2ln.c2ln",
    ] {
        assert!(!known(&verdicts, other), "{other}");
    }
    assert!(known(&verdicts, "header.claims.c2ln"));
    let VerdictMetrics { hits, misses, entries } = &verdicts.metrics;
    assert_eq!((hits.get(), misses.get(), entries.get()), (1, 8, 1));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_stands_as_long_as_its_token_and_its_key() {
    let (keys, replace) = test_keys();
    let validity = Validity::for_test(Some(Duration::from_secs(1000)), Duration::from_secs(2000));
    let verdict = Verdict { validity, key: keys.key("old").await.unwrap(), ..verdict("ada") };
    let stands = |keys, second| verdict.stands(keys, SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    // The leeway is 10 s.
    for (second, expected) in [(0, false), (989, false), (990, true), (2009, true), (2010, false)] {
        assert_eq!(stands(Some(&keys), second), expected, "at {second}");
    }
    assert!(!stands(None, 1500), "of no pool");
    replace();
    assert!(!stands(Some(&keys), 1500), "its key is withdrawn");
}

#[test]
fn a_verdict_that_does_not_stand_is_gone() {
    let verdicts = verdicts();
    put(&verdicts, "a.b.c", verdict("ada"));
    assert!(matches!(verdicts.look(b"a.b.c", |_| false), Look::Unknown(_)));
    assert!(!known(&verdicts, "a.b.c"));
}

#[test]
fn a_verdict_leaves_with_its_token() {
    let verdicts = verdicts();
    let ended = Validity::for_test(None, Duration::ZERO);
    put(&verdicts, "a.b.c", Verdict { validity: ended, ..verdict("ada") });
    put(&verdicts, "a.b.d", verdict("ada"));
    verdicts.sweep(SystemTime::now());
    assert!(!known(&verdicts, "a.b.c") && known(&verdicts, "a.b.d"));
    assert_eq!(verdicts.metrics.entries.get(), 1);
}

#[test]
fn the_bound_holds_in_bytes_and_what_is_held_is_counted() {
    let verdicts = Verdicts::new(1 << 20, TokenMetrics::default().verdicts());
    for n in 0..400 {
        let mut held = verdict(&format!("user-{n}"));
        let groups = Groups::try_from(vec!["g".repeat(128); 100]).unwrap();
        held.bearer.person = held.bearer.person.map(|own| Arc::new(Person { groups, ..(*own).clone() }));
        put(&verdicts, &format!("a.b.{n}"), held);
    }
    assert!(verdicts.held.weight() <= 1 << 20);
    assert!((20..80).contains(&verdicts.held.len()), "{}", verdicts.held.len());
    assert_eq!(usize::try_from(verdicts.metrics.entries.get()), Ok(verdicts.held.len()));
}

#[test]
#[ignore = "its memory must be the process's: `cargo test --lib memory -- --ignored --nocapture --test-threads 1`"]
fn memory_of_verdicts_is_what_they_weigh() {
    let verdicts = Verdicts::new(1 << 30, TokenMetrics::default().verdicts());
    let before = resident();
    let (like, id) = (verdict("ada"), "client1".parse::<ClientId>().unwrap());
    for n in 0..200_000 {
        let groups = Groups::try_from(vec!["engineers".to_owned(), "administrators".to_owned()]).unwrap();
        let scopes = Scopes::from("openid email profile aws.cognito.signin.user.admin");
        let sub = format!("ada00000-5a4d-4b0c-8000-{n:012}").parse().unwrap();
        let pool = Arc::clone(&like.pool);
        let person =
            Person { pool: Arc::clone(&pool), sub, username: format!("user-{n}").parse().unwrap(), groups };
        let bearer =
            Bearer { client: Arc::new(Client { id: id.clone(), scopes }), person: Some(Arc::new(person)) };
        let (validity, key) = (like.validity, Arc::clone(&like.key));
        put(&verdicts, &format!("a.b.{n}"), Verdict { bearer, validity, key, pool });
    }
    assert_eq!(verdicts.held.len(), 200_000);
    let (taken, weight) = (resident() - before, verdicts.held.weight());
    println!("200,000 verdicts: {} bytes each, weighed as {}", taken / 200_000, weight / 200_000);
    assert!(taken <= weight * 11 / 10, "{taken} bytes, weighed as {weight}");
}

#[test]
fn one_users_verdicts_can_be_forgotten() {
    let verdicts = verdicts();
    for (token, held) in [
        ("a.b.1", verdict("ada")),
        ("a.b.2", verdict("ada")),
        ("a.b.3", verdict("bob")),
        ("a.b.4", of_pool(verdict("ada"), "eu-west-1_B")),
        ("a.b.5", Verdict { bearer: Bearer { person: None, ..verdict("ada").bearer }, ..verdict("ada") }),
    ] {
        put(&verdicts, token, held);
    }
    let forget = || verdicts.scan(&"eu-west-1_A".parse().unwrap(), &"ada".parse().unwrap());
    assert_eq!((forget(), forget()), (2, 0));
    let left = ["a.b.1", "a.b.2", "a.b.3", "a.b.4", "a.b.5"].map(|token| known(&verdicts, token));
    assert_eq!((left, verdicts.metrics.entries.get()), ([false, false, true, true, true], 3));
}

#[tokio::test]
async fn a_scan_holds_up_nobody_and_follows_the_one_before() {
    let verdicts = Arc::new(verdicts());
    put(&verdicts, "a.b.c", verdict("ada"));
    let (held, holds) = mpsc::channel();
    let (let_go, letting_go) = mpsc::channel();
    let holder = Arc::clone(&verdicts);
    let holding = thread::spawn(move || {
        let _era = holder.era.read().unwrap();
        held.send(()).unwrap();
        // Until both have been asked for, or else for ever.
        assert_eq!(letting_go.recv_timeout(Duration::from_secs(30)), Ok(()), "the scan holds up the test");
    });
    holds.recv().unwrap();
    let (pool, ada, here) = ("eu-west-1_A".parse().unwrap(), "ada".parse().unwrap(), Handle::current());
    let mut first = Box::pin(verdicts.forget(&pool, &ada, &here));
    let mut second = Box::pin(verdicts.forget(&pool, &ada, &here));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    assert!(verdicts.turn.try_lock().is_err(), "one at a time");
    let_go.send(()).unwrap();
    holding.join().expect("the scan waits apart");
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 0));
}

#[test]
fn what_was_being_verified_when_a_user_was_forgotten_is_not_kept() {
    let verdicts = verdicts();
    let Look::Unknown(before) = verdicts.look(b"a.b.c", |_| true) else { panic!("known") };
    assert_eq!(verdicts.scan(&"eu-west-1_A".parse().unwrap(), &"ada".parse().unwrap()), 0);
    let bearer = before.fill(verdict("ada"));
    assert!(bearer.person.is_some() && !known(&verdicts, "a.b.c"));
    put(&verdicts, "a.b.c", verdict("ada"));
    assert!(known(&verdicts, "a.b.c"), "one that is presented again later is");
}

#[test]
fn nothing_personal_is_shown() {
    let verdicts = verdicts();
    put(&verdicts, "secret.secret.secret", verdict("secret"));
    let shown = format!("{verdicts:?} {:?}", verdict("secret"));
    assert!(!shown.contains("secret"), "{shown}");
}

fn verdicts() -> Verdicts {
    Verdicts::new(1 << 20, TokenMetrics::default().verdicts())
}

fn put(verdicts: &Verdicts, text: &str, verdict: Verdict) {
    match verdicts.look(text.as_bytes(), |_| true) {
        Look::Known(_) => panic!("{text} is known"),
        Look::Unknown(vacancy) => drop(vacancy.fill(verdict)),
    }
}

fn known(verdicts: &Verdicts, text: &str) -> bool {
    matches!(verdicts.look(text.as_bytes(), |_| true), Look::Known(_))
}

fn verdict(name: &str) -> Verdict {
    let pool = pool("eu-west-1_A");
    let (sub, username) = (name.parse().unwrap(), name.parse().unwrap());
    let person = Person { pool: Arc::clone(&pool), sub, username, groups: Groups::default() };
    let client = Arc::new(Client { id: "client1".parse().unwrap(), scopes: Scopes::default() });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Verdict {
        bearer: Bearer { client, person: Some(Arc::new(person)) },
        validity: Validity::for_test(None, now + Duration::from_secs(3600)),
        key: test_key(),
        pool,
    }
}

fn of_pool(verdict: Verdict, id: &str) -> Verdict {
    let pool = pool(id);
    let person = verdict.bearer.person.as_deref().unwrap().clone();
    let person = Some(Arc::new(Person { pool: Arc::clone(&pool), ..person }));
    Verdict { bearer: Bearer { person, ..verdict.bearer }, pool, ..verdict }
}

fn pool(id: &str) -> Arc<Pool> {
    let settings = PoolSettings { id: id.into(), app_clients: vec!["client1".into()], ..Default::default() };
    let config = Config { pools: vec![settings], ..Config::default() };
    Arc::clone(Pools::read(&config, &mut Faults::collector(&config)).unwrap().only().unwrap())
}
