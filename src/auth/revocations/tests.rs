use fastrand::Rng;

use super::*;
use crate::telemetry::metrics::Metrics;

/// Who revokes what and when, and which tokens of the same user are refused then.
#[test]
fn a_token_is_refused_if_it_was_issued_until_the_latest_revocation() {
    // Revocations in order, and the seconds at which refused and accepted tokens were issued. All is
    // relative to now.
    type Case = (&'static str, &'static [i64], &'static [i64], &'static [i64]);
    let table: [Case; 7] = [
        ("nothing is revoked", &[], &[], &[-100, 0, 10]),
        ("one", &[-50], &[-100, -51, -50], &[-49, 0]),
        ("the later one last", &[-60, -50], &[-60, -50], &[-49]),
        ("the later one first", &[-50, -60], &[-60, -50], &[-49]),
        ("twice", &[-50, -50], &[-50], &[-49]),
        ("ahead of our clock", &[10], &[0, 10], &[11]),
        ("before 1970", &[-9_000_000_000], &[], &[-100]),
    ];
    for (case, revoked, refused, accepted) in table {
        let revocations = revocations(DAY, 1 << 20);
        for at in revoked {
            revocations.revoke(&of_user("ada", seconds(*at)));
        }
        let is_refused = |sub: &str, at: i64| is_refused(&revocations, sub, None, Some(seconds(at)));
        for at in refused {
            assert!(is_refused("ada", *at), "{case}: issued at {at}");
            assert!(!is_refused("bob", *at), "{case}: of somebody else");
        }
        for at in accepted {
            assert!(!is_refused("ada", *at), "{case}: issued at {at}");
        }
    }
}

#[test]
fn a_revocation_is_about_one_pool_and_one_family() {
    let revocations = revocations(DAY, 1 << 20);
    let (family, other) = (TokenFamily::of("one"), TokenFamily::of("two"));
    assert_eq!((family == TokenFamily::of("one"), family == other), (true, false));
    let tokens = RevokedTokens::OfFamily(family);
    revocations.revoke(&Revocation { pool: pool("eu-west-1_A"), tokens, at: SystemTime::now() });
    let later = Some(seconds(5));
    assert!(is_refused(&revocations, "ada", Some(family), later), "a refreshed token too");
    assert!(!is_refused(&revocations, "ada", Some(other), later));
    assert!(!is_refused(&revocations, "ada", None, later));
    let of_other_pool = TokenOrigin {
        pool: &pool("eu-west-1_B"),
        sub: &"ada".parse().unwrap(),
        family: Some(family),
        issued_at: None,
    };
    assert!(!revocations.is_revoked(&of_other_pool, &CheckedVersion::default()));
}

#[test]
fn a_token_that_was_checked_is_checked_again_only_after_a_revocation() {
    let revocations = revocations(DAY, 1 << 20);
    let (sub, pool, checked) = ("ada".parse().unwrap(), pool("eu-west-1_A"), CheckedVersion::default());
    let issued_at = Some(since_1970(seconds(0)));
    let origin = TokenOrigin { pool: &pool, sub: &sub, family: None, issued_at };
    let is_revoked = || revocations.is_revoked(&origin, &checked);
    assert!(!is_revoked());
    // While the marks are locked, only a check of the version alone returns.
    let locked = revocations.marks.write().unwrap();
    assert!(!is_revoked());
    drop(locked);
    revocations.revoke(&of_user("bob", seconds(0)));
    assert!(!is_revoked());
    revocations.revoke(&of_user("ada", seconds(-1)));
    assert!(!is_revoked());
    let version = revocations.version.load(Acquire);
    revocations.revoke(&of_user("ada", seconds(-2)));
    assert_eq!(revocations.version.load(Acquire), version, "a repeated one checks no token again");
    revocations.revoke(&of_user("ada", seconds(0)));
    assert!(is_revoked() && is_revoked());
}

#[test]
fn any_order_and_any_repetition_ends_in_the_same_state() {
    let mut random = Rng::with_seed(18);
    for round in 0..2_000 {
        // With a bound too: the latest marks that fit in remain.
        let max_bytes = if round % 2 == 0 { 1 << 20 } else { 8 * 1024 };
        let mut set: Vec<_> = (0..random.usize(1..60)).map(|_| any_revocation(&mut random)).collect();
        let expected = state_after(max_bytes, &set);
        let repeated: Vec<_> = (0..20).map(|_| set[random.usize(..set.len())].clone()).collect();
        set.extend(repeated);
        random.shuffle(&mut set);
        assert_eq!(state_after(max_bytes, &set), expected, "round {round}");
    }
}

#[test]
fn a_revocation_outlives_every_token_that_it_is_about_and_is_then_freed() {
    for lifetime in [DAY, Duration::from_secs(300)] {
        let revocations = revocations(lifetime, 1 << 20);
        let now = SystemTime::now();
        // The last token that it refuses expires after its lifetime, and 10 s of leeway for `exp`.
        // The verifier accepts it for 10 s more.
        let until = revocations.revoke(&of_user("ada", now)).unwrap();
        assert_eq!(until.duration_since(now).unwrap().as_secs(), (lifetime + 2 * LEEWAY).as_secs());
        revocations.maintain();
        assert_eq!(count(&revocations), 1);
        let ended = now - lifetime - 2 * LEEWAY;
        let over = revocations.revoke(&of_user("bob", ended - Duration::from_secs(1)));
        assert!(over.unwrap() <= now, "its tokens have expired");
        assert_eq!(count(&revocations), 1, "one that is over is not kept");
        // As if that time had passed.
        let mut marks = revocations.marks.write().unwrap();
        marks.remove_until(Some(since_1970(now)));
        assert_eq!(marks.count(), 0);
    }
}

#[test]
fn a_full_set_drops_what_would_end_next_and_counts_it() {
    let metrics = Metrics::new();
    let settings = RevocationSettings { max_bytes: 16 * 1024, ..RevocationSettings::default() };
    let revocations = Revocations::new(&settings, &metrics.tokens);
    for n in 0..100 {
        revocations.revoke(&of_user(&format!("user-{n}"), seconds(n - 100)));
    }
    let kept = count(&revocations);
    assert_eq!(kept, 16 * 1024 / 320);
    let is_kept = |n: i64| is_refused(&revocations, &format!("user-{n}"), None, Some(seconds(n - 100)));
    assert!((0..100).all(|n| is_kept(n) == (n >= 100 - i64::try_from(kept).unwrap())));
    let text = metrics.text();
    for line in [
        format!("cognito_lookup_revocation_marks {kept}\n"),
        format!("cognito_lookup_revocation_marks_dropped_total {}\n", 100 - kept),
    ] {
        assert!(text.contains(&line), "{line}");
    }
}

#[test]
fn a_revocation_without_room_is_refused() {
    let revocations = revocations(DAY, 320);
    let (first, later) = (of_user("ada", seconds(-10)), of_user("bob", seconds(-5)));
    assert!(revocations.revoke(&first).is_some() && revocations.has(&first));
    assert!(revocations.revoke(&later).is_some() && revocations.has(&later));
    assert!(!revocations.has(&first), "it made room");
    assert_eq!(revocations.revoke(&first), None);
    assert!(!is_refused(&revocations, "ada", None, Some(seconds(-20))));
    assert!(!revocations.has(&of_user("bob", seconds(-4))), "it would be a later one");
    assert!(revocations.has(&of_user("bob", seconds(-6))), "the later one covers it");
}

#[test]
fn the_memory_of_many_marks_is_freed() {
    let revocations = revocations(DAY, 1 << 30);
    for n in 0..20_000 {
        revocations.revoke(&of_user(&format!("user-{n}"), seconds(0)));
    }
    let mut marks = revocations.marks.write().unwrap();
    assert!(marks.capacity() >= 20_000);
    marks.remove_until(Some(since_1970(seconds(1))));
    assert!(marks.capacity() < 2_000, "{}", marks.capacity());
}

#[test]
fn debug_output_has_no_personal_data() {
    let revocations = revocations(DAY, 1 << 20);
    revocations.revoke(&of_user("secret", SystemTime::now()));
    let shown = format!("{revocations:?} {:?} {:?}", of_user("secret", UNIX_EPOCH), TokenFamily::of("x"));
    assert!(!shown.contains("secret") && shown.contains("TokenFamily(redacted)"), "{shown}");
}

fn state_after(max_bytes: u64, set: &[Revocation]) -> Vec<(marks::MarkKey, Duration)> {
    let revocations = revocations(DAY, max_bytes);
    for revocation in set {
        revocations.revoke(revocation);
    }
    revocations.marks.read().unwrap().all().map(|(key, time)| (key.clone(), time)).collect()
}

fn any_revocation(random: &mut Rng) -> Revocation {
    let name = format!("user-{}", random.u8(..40));
    let tokens = match random.bool() {
        true => RevokedTokens::OfUser(name.parse().unwrap()),
        false => RevokedTokens::OfFamily(TokenFamily::of(&name)),
    };
    let pool = pool(if random.bool() { "eu-west-1_A" } else { "eu-west-1_B" });
    // Whole seconds of a fixed day, so that marks of one time are frequent.
    let at = UNIX_EPOCH + Duration::from_secs(4_000_000_000 + random.u64(..20));
    Revocation { pool, tokens, at }
}

fn revocations(token_lifetime: Duration, max_bytes: u64) -> Revocations {
    let settings = RevocationSettings { token_lifetime, max_bytes, ..RevocationSettings::default() };
    Revocations::new(&settings, &Metrics::new().tokens)
}

fn count(revocations: &Revocations) -> usize {
    revocations.marks.read().unwrap().count()
}

fn is_refused(
    revocations: &Revocations,
    sub: &str,
    family: Option<TokenFamily>,
    issued: Option<SystemTime>,
) -> bool {
    let (pool, sub, issued_at) = (pool("eu-west-1_A"), sub.parse().unwrap(), issued.map(since_1970));
    let origin = TokenOrigin { pool: &pool, sub: &sub, family, issued_at };
    revocations.is_revoked(&origin, &CheckedVersion::default())
}

fn of_user(sub: &str, at: SystemTime) -> Revocation {
    let tokens = RevokedTokens::OfUser(sub.parse().unwrap());
    Revocation { pool: pool("eu-west-1_A"), tokens, at }
}

fn pool(id: &str) -> PoolId {
    id.parse().unwrap()
}

/// The second that is so far from the present one, or 1970 if there is none.
fn seconds(from_now: i64) -> SystemTime {
    let now = i64::try_from(since_1970(SystemTime::now()).as_secs()).unwrap();
    UNIX_EPOCH + Duration::from_secs(u64::try_from(now + from_now).unwrap_or(0))
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
