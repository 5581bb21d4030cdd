use std::{sync::mpsc, thread, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{
    fixtures::{verified, verified_tokens},
    *,
};
use crate::{
    auth::{
        caller::{Client, Scopes},
        keys::test_keys,
    },
    cache::resident,
    pool::{ClientId, Pool},
    user::Groups,
};

#[test]
fn a_lookup_compares_every_byte_of_a_token() {
    let tokens = verified_tokens();
    put(&tokens, "header.claims.c2ln", verified("ada"));
    for other in [
        "header.claims.c2lo",
        // The same signature, if unused bits are ignored.
        "header.claims.c2ln-",
        "header.claims.c2l",
        "header.claims.d2ln",
        "header.claimt.c2ln",
        "headeR.claims.c2ln",
        "header.claims-c2ln.c2ln",
    ] {
        assert!(!known(&tokens, other), "{other}");
    }
    assert!(known(&tokens, "header.claims.c2ln"));
    assert_eq!((tokens.hits.get(), tokens.misses.get(), entries(&tokens)), (1, 8, 1));
}

#[test]
fn a_cached_token_is_valid_as_long_as_its_claims_and_its_key() {
    let (keys, key, replace) = test_keys();
    let validity = Validity::for_test(Some(Duration::from_secs(1000)), Duration::from_secs(2000));
    let verified = VerifiedToken { validity, key, keys, ..verified("ada") };
    let is_valid = |second| verified.is_valid(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
    // The leeway is 10 s.
    for (second, expected) in [(0, false), (989, false), (990, true), (2009, true), (2010, false)] {
        assert_eq!(is_valid(second), expected, "at {second}");
    }
    replace();
    assert!(!is_valid(1500), "its key is withdrawn");
}

#[test]
fn a_lookup_removes_an_invalid_token() {
    let tokens = verified_tokens();
    let (keys, key, replace) = test_keys();
    put(&tokens, "a.b.c", VerifiedToken { keys, key, ..verified("ada") });
    assert!(known(&tokens, "a.b.c"));
    replace();
    assert!(!known(&tokens, "a.b.c"));
    assert!(tokens.cache.get(&Digest::of(b"a.b.c")).is_none());
}

#[test]
fn an_expired_token_is_freed() {
    let tokens = verified_tokens();
    let ended = Validity::for_test(None, Duration::ZERO);
    put(&tokens, "a.b.c", VerifiedToken { validity: ended, ..verified("ada") });
    put(&tokens, "a.b.d", verified("ada"));
    assert!(!known(&tokens, "a.b.c") && known(&tokens, "a.b.d"));
    let begun = Instant::now();
    while entries(&tokens) > 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is still in memory");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(entries(&tokens), 1);
}

#[test]
fn the_cache_is_bounded_in_bytes_and_its_entries_are_a_metric() {
    let metrics = Metrics::new();
    let tokens = VerifiedTokens::new(1 << 20, &RevocationSettings::default(), &metrics);
    for n in 0..400 {
        let mut held = verified(&format!("user-{n}"));
        let groups = Groups::try_from(vec!["g".repeat(128); 100]).unwrap();
        held.identity.user =
            held.identity.user.map(|own| Arc::new(TokenUser { groups: Some(groups), ..(*own).clone() }));
        put(&tokens, &format!("a.b.{n}"), held);
    }
    assert!(tokens.cache.size().bytes <= 1 << 20);
    assert!((20..80).contains(&entries(&tokens)), "{}", entries(&tokens));
    let gauge = format!("cognito_lookup_verdict_cache_entries {}\n", entries(&tokens));
    assert!(metrics.text().contains(&gauge));
}

#[test]
#[ignore = "its memory must be the process's: `cargo test --lib memory -- --ignored --nocapture --test-threads 1`"]
fn the_memory_of_tokens_matches_their_weight() {
    let tokens = VerifiedTokens::new(1 << 30, &RevocationSettings::default(), &Metrics::new());
    let before = resident();
    let (like, id) = (verified("ada"), "client1".parse::<ClientId>().unwrap());
    let pool = Pool::for_test("eu-west-1_A");
    for n in 0..200_000 {
        let groups = Groups::try_from(vec!["engineers".to_owned(), "administrators".to_owned()]).unwrap();
        let scopes = Scopes::from("openid email profile aws.cognito.signin.user.admin");
        let sub = format!("ada00000-5a4d-4b0c-8000-{n:012}").parse().unwrap();
        let user = TokenUser {
            pool: Arc::clone(&pool),
            sub,
            username: format!("user-{n}").parse().unwrap(),
            groups: Some(groups),
            issued_at: SystemTime::UNIX_EPOCH,
            family: None,
        };
        let identity =
            TokenIdentity { client: Arc::new(Client { id: id.clone(), scopes }), user: Some(Arc::new(user)) };
        let (validity, key, keys) = (like.validity, Arc::clone(&like.key), Arc::clone(&like.keys));
        put(
            &tokens,
            &format!("a.b.{n}"),
            VerifiedToken { identity, validity, key, keys, checked: CheckedVersion::default() },
        );
    }
    assert_eq!(entries(&tokens), 200_000);
    let (taken, weight) = (resident() - before, tokens.cache.size().bytes);
    println!("200,000 tokens: {} bytes each, weighed as {}", taken / 200_000, weight / 200_000);
    assert!(taken <= weight * 11 / 10, "{taken} bytes, weighed as {weight}");
}

#[test]
fn a_removal_covers_the_tokens_of_one_user() {
    let tokens = verified_tokens();
    for (token, held) in [
        ("a.b.1", verified("ada")),
        ("a.b.2", verified("ada")),
        ("a.b.3", verified("bob")),
        ("a.b.4", of_pool(verified("ada"), "eu-west-1_B")),
        (
            "a.b.5",
            VerifiedToken {
                identity: TokenIdentity { user: None, ..verified("ada").identity },
                ..verified("ada")
            },
        ),
    ] {
        put(&tokens, token, held);
    }
    let forget = || tokens.scan(&"eu-west-1_A".parse().unwrap(), &"ada".parse().unwrap());
    assert_eq!((forget(), forget()), (2, 0));
    let left = ["a.b.1", "a.b.2", "a.b.3", "a.b.4", "a.b.5"].map(|token| known(&tokens, token));
    assert_eq!((left, entries(&tokens)), ([false, false, true, true, true], 3));
}

#[tokio::test]
async fn scans_block_no_caller_and_run_one_at_a_time() {
    let tokens = Arc::new(verified_tokens());
    put(&tokens, "a.b.c", verified("ada"));
    let (held, holds) = mpsc::channel();
    let (let_go, letting_go) = mpsc::channel();
    let holder = Arc::clone(&tokens);
    let holding = thread::spawn(move || {
        holder.epochs.if_current(holder.epochs.of_all(), || {
            held.send(()).unwrap();
            // Until both removals wait for it; the timeout ends a failed test.
            let let_go = letting_go.recv_timeout(Duration::from_secs(30));
            assert_eq!(let_go, Ok(()), "the scan blocks the test");
        });
    });
    holds.recv().unwrap();
    let (pool, ada) = ("eu-west-1_A".parse().unwrap(), "ada".parse().unwrap());
    let mut first = Box::pin(tokens.remove_user(&pool, &ada));
    let mut second = Box::pin(tokens.remove_user(&pool, &ada));
    assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
    assert!(tokens.removal.try_lock().is_err(), "one at a time");
    let_go.send(()).unwrap();
    holding.join().expect("the scan runs on another thread");
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 0));
}

#[test]
fn a_token_verified_during_a_removal_is_not_cached() {
    let tokens = verified_tokens();
    let Err(before) = tokens.look_up(b"a.b.c") else { panic!("known") };
    assert_eq!(tokens.scan(&"eu-west-1_A".parse().unwrap(), &"ada".parse().unwrap()), 0);
    let token = before.insert(verified("ada"));
    assert!(token.identity.user.is_some() && !known(&tokens, "a.b.c"));
    put(&tokens, "a.b.c", verified("ada"));
    assert!(known(&tokens, "a.b.c"), "a later verification is cached");
}

#[test]
fn debug_output_has_no_personal_data() {
    let tokens = verified_tokens();
    put(&tokens, "secret.secret.secret", verified("secret"));
    let shown = format!("{tokens:?} {:?}", verified("secret"));
    assert!(!shown.contains("secret"), "{shown}");
}

fn entries(tokens: &VerifiedTokens) -> i64 {
    tokens.cache.size().entries
}

fn put(tokens: &VerifiedTokens, text: &str, verified: VerifiedToken) {
    match tokens.look_up(text.as_bytes()) {
        Ok(_) => panic!("{text} is known"),
        Err(pending) => drop(pending.insert(verified)),
    }
}

fn known(tokens: &VerifiedTokens, text: &str) -> bool {
    tokens.look_up(text.as_bytes()).is_ok()
}

fn of_pool(verified: VerifiedToken, id: &str) -> VerifiedToken {
    let user = verified.identity.user.as_deref().unwrap().clone();
    let user = Some(Arc::new(TokenUser { pool: Pool::for_test(id), ..user }));
    VerifiedToken { identity: TokenIdentity { user, ..verified.identity }, ..verified }
}
