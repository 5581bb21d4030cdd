mod memory;

use std::{collections::BTreeMap, sync::Arc, thread};

use tokio::time::Instant;

use super::{
    super::entry::{LookupMethod, tests::TTLS},
    *,
};
use crate::{clock::TimePoint, user::Groups, users::test_user};

#[test]
fn the_cache_is_bounded_in_bytes() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    for n in 0..200 {
        cache.put(key(n), present(large_user(&format!("user-{n}"), 70, 2000)));
    }
    assert!(cache.present.size().bytes <= 1 << 20);
    assert!((1..=7).contains(&cache.present.size().entries), "{}", cache.present.size().entries);
}

#[test]
fn evictions_are_counted_and_removals_are_not() {
    let cache_metrics = CacheMetrics::default();
    let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &cache_metrics);
    let given_up = |of| cache_metrics.evictions.get(of).get();
    cache.put(key(0), present(test_user("user-0")));
    cache.put(key(0), absent());
    cache.remove(&key(0));
    assert_eq!((given_up(USERS), given_up(ABSENCES)), (0, 0));
    for n in 0..1000 {
        cache.put(key(n), absent());
    }
    let held = u64::try_from(cache.absent.size().entries).unwrap();
    assert_eq!((given_up(USERS), given_up(ABSENCES)), (0, 1000 - held));
    assert!(held < 1000);
}

#[test]
fn the_weight_of_groups_includes_their_names() {
    let key = key(0).with_kind(EntryKind::Groups);
    let weight = |names: Vec<String>| {
        let content = Content::Groups(names.try_into().unwrap(), true);
        UserCache::weight(&key, &CacheEntry { content, ..absent() })
    };
    let names = |length: usize| (0..100).map(|_| "g".repeat(length)).collect::<Vec<_>>();
    assert_eq!(weight(names(128)) - weight(names(8)), 100 * 120);
    assert!(weight(names(128)) >= weight(Vec::new()) + 100 * (128 + 16));
}

#[test]
fn a_removal_returns_what_was_cached_and_an_expiry_keeps_it() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    let groups = || CacheEntry { content: Content::Groups(Groups::default(), true), ..absent() };
    assert_eq!((cache.remove(&key(0)), cache.expire(&key(0))), ((false, false), false));
    cache.put(key(0), present(test_user("user-0")));
    cache.put(key(0).with_kind(EntryKind::Groups), groups());
    assert!(cache.expire(&key(0)));
    for kind in EntryKind::ALL {
        assert!(cache.get(&key(0).with_kind(kind)).unwrap().expired);
    }
    assert_eq!(cache.remove(&key(0)), (true, false));
    assert!(EntryKind::ALL.iter().all(|kind| cache.get(&key(0).with_kind(*kind)).is_none()));
    cache.put(key(0).with_kind(EntryKind::Groups), groups());
    cache.put(key(0), absent());
    assert!(cache.get(&key(0).with_kind(EntryKind::Groups)).is_none(), "a deleted user has no cached groups");
    assert_eq!(cache.remove(&key(0)), (false, true));
    cache.put(key(0), absent());
    assert!(cache.expire(&key(0)) && cache.get(&key(0)).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_entry_stays_for_its_ttl_with_the_most_jitter() {
    let (user, absence) = (present(test_user("user-0")), absent());
    let longest = |ttl: Duration| ttl * 11 / 10;
    let left = || (time_left(&user, TTLS.usable), time_left(&absence, TTLS.absent));
    assert_eq!(left(), (longest(TTLS.usable), longest(TTLS.absent)));
    tokio::time::advance(longest(TTLS.absent)).await;
    assert_eq!(left(), (longest(TTLS.usable) - longest(TTLS.absent), Duration::ZERO));
    tokio::time::advance(longest(TTLS.usable)).await;
    assert_eq!(left(), (Duration::ZERO, Duration::ZERO));
}

/// Uses the real clock, because moka does.
#[test]
fn expired_entries_are_freed() {
    let short = Duration::from_millis(100);
    let ttls = Ttls { fresh: short, usable: short, absent: short * 20 };
    let cache = UserCache::new(1 << 20, 1 << 20, ttls, &CacheMetrics::default());
    let entries = || (cache.present.size().entries, cache.absent.size().entries);
    let begun = Instant::now();
    cache.put(key(0), present(test_user("user-0")));
    cache.put(key(1), absent());
    assert_eq!(entries(), (1, 1));
    // Neither a noted failure nor an expiry by an operator extends the stay of an entry.
    cache.note_failure(&key(0), StaleReason::UpstreamThrottled);
    cache.expire(&key(0));
    for expected in [(0, 1), (0, 0)] {
        while entries() != expected {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", entries());
            thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(begun.elapsed() >= ttls.absent * 11 / 10);
}

#[test]
fn the_largest_user_fits_into_the_smallest_cache() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    for n in 0..40 {
        cache.put(key(n), present(large_user(&format!("user-{n}"), 70, 2048)));
        assert!(cache.get(&key(n)).is_some(), "{n}");
    }
    assert!(cache.present.size().bytes <= 1 << 20);
}

#[test]
fn negative_entries_never_evict_a_user() {
    let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &CacheMetrics::default());
    cache.put(key(0), present(test_user("user-0")));
    for n in 1..10_000 {
        cache.put(key(n), absent());
    }
    assert!(cache.absent.size().bytes <= 1 << 14);
    assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Present(_)));
}

#[test]
fn a_scan_of_cold_users_evicts_few_hot_users() {
    let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &CacheMetrics::default());
    let ask = |n: usize| {
        let is_hit = cache.get(&key(n)).is_some();
        if !is_hit {
            cache.put(key(n), present(test_user(key(n).sub.as_str())));
        }
        is_hit
    };
    let hot = 0..800;
    for _ in 0..10 {
        hot.clone().for_each(|n| _ = ask(n));
    }
    let size = cache.present.size();
    let room = usize::try_from(size.entries * (1 << 20) / size.bytes).unwrap();
    let mut hits = 0;
    // Requests ten times as many cold users as fit, each once, and a hot user after each.
    for n in 0..10 * room {
        ask(1000 + n);
        hits += usize::from(ask(n % hot.len()));
    }
    assert!(room > 1000 && hits * 10 >= room * 95, "{hits} hits of {}", 10 * room);
}

#[test]
fn a_user_and_a_negative_entry_replace_each_other() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    cache.put(key(0), present(test_user("user-0")));
    cache.put(key(0), absent());
    assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Absent(_)));
    assert!(cache.absent.remove(&key(0)));
    assert!(cache.get(&key(0)).is_none(), "a deleted user reappears");
    cache.put(key(0), absent());
    cache.put(key(0), present(test_user("user-0")));
    assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Present(_)));
    cache.present.remove(&key(0));
    assert!(cache.get(&key(0)).is_none());
}

#[test]
fn a_noted_failure_ends_with_the_next_fetch() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    cache.note_failure(&key(0), StaleReason::UpstreamThrottled);
    assert!(cache.get(&key(0)).is_none());
    let fetched = present(test_user("user-0"));
    cache.put(key(0), fetched.clone());
    cache.note_failure(&key(0), StaleReason::UpstreamThrottled);
    let noted = cache.get(&key(0)).unwrap();
    assert_eq!((noted.failure.unwrap(), noted.began), (StaleReason::UpstreamThrottled, fetched.began));
    cache.put(key(0), fetched);
    assert!(cache.get(&key(0)).unwrap().failure.is_none());
}

#[test]
fn the_same_sub_in_two_pools_is_two_users() {
    let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
    cache.put(key(0), present(test_user("user-0")));
    assert!(cache.get(&Key { pool: "eu-west-1_B".parse().unwrap(), ..key(0) }).is_none());
}

pub(super) fn large_user(sub: &str, attributes: usize, length: usize) -> User {
    let attribute = |a| (format!("custom:{a}").parse().unwrap(), "v".repeat(length).into());
    let attributes = (0..attributes).map(attribute).collect::<BTreeMap<_, _>>().into();
    User { attributes, ..test_user(sub) }
}

pub(super) fn key(n: usize) -> Key {
    let sub = format!("user-{n}").parse().unwrap();
    Key { pool: "eu-west-1_A".parse().unwrap(), sub, kind: EntryKind::Profile }
}

pub(super) fn present(user: User) -> CacheEntry {
    CacheEntry::new(Content::Present(Arc::new(user)), TimePoint::now())
}

fn absent() -> CacheEntry {
    CacheEntry::new(Content::Absent(LookupMethod::BySub), TimePoint::now())
}
