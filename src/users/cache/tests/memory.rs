//! The memory of cached users: too large for every run, so `tests/run unit` selects these tests by
//! name.

use std::ops::Range;

use tikv_jemallocator::Jemalloc;

use super::{super::super::entry::tests::TTLS, *};
use crate::cache::resident;

// As in the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[test]
#[ignore = "takes 2 GB, and its memory must be the process's: `cargo test --lib memory -- --ignored --nocapture --test-threads 1`"]
fn the_memory_of_a_million_users_matches_their_weight() {
    let (cache, before) = (UserCache::new(u64::MAX, 1 << 20, TTLS, &CacheMetrics::default()), resident());
    fill(&cache, 0..1_000_000, 10, 20);
    let (taken, weight) = (resident() - before, cache.present.size().bytes);
    assert_eq!(cache.present.size().entries, 1_000_000);
    println!(
        "1,000,000 users of 10 attributes: {} bytes a user, weighed as {}",
        taken / 1_000_000,
        weight / 1_000_000
    );
    assert!(taken <= weight * 11 / 10, "{taken} bytes, weighed as {weight}");
}

#[test]
#[ignore = "as above"]
fn the_largest_users_stay_within_the_bound() {
    let (cache, before) = (UserCache::new(256 << 20, 1 << 20, TTLS, &CacheMetrics::default()), resident());
    let mut peak = 0;
    // Cognito's largest users: 70 attributes of 2,048 characters, five times as many as fit.
    for hundred in 0..100 {
        fill(&cache, hundred * 100..(hundred + 1) * 100, 70, 2048);
        peak = peak.max(resident() - before);
    }
    println!(
        "10,000 users of 140 KB within 256 MiB: at most {} MiB, {} held",
        peak >> 20,
        cache.present.size().entries
    );
    assert!(cache.present.size().entries > 1500);
    // Four fifths of a container of 512 MiB.
    assert!(peak <= 410 << 20, "{peak} bytes");
}

fn fill(cache: &UserCache, users: Range<usize>, attributes: usize, length: usize) {
    for n in users {
        let key = key(n);
        let user = User { sub: key.sub.clone(), ..large_user("a", attributes, length) };
        cache.put(key, present(user));
    }
}
