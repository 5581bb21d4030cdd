use std::{fs, path::Path, thread::sleep, time::Duration};

use allocation_counter::measure;
use tracing::{Dispatch, dispatcher};

use self::{
    call::{CallKind, WARM_UP_CALLS, answer, warm_up},
    components::Components,
};

// The requests that `benches/hit` measures.
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../../benches/hit/components.rs"]
mod components;
#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../../benches/hit/call.rs"]
mod call;

/// Counts from the request that hyper passes on to the last frame of the reply, without the
/// allocations of hyper and h2.
#[test]
fn a_cache_hit_makes_the_listed_allocations_only() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("audit.jsonl");
    let components = Components::start(&records, |_| {});
    let (runtime, mut calls) = (components::runtime(), 0);
    let [by_sub, by_token] = LISTED.iter().fold([0, 0], |[sub, token], (s, t, _)| [sub + s, token + t]);
    for (kind, listed) in [(CallKind::BySub, by_sub), (CallKind::ByToken, by_token)] {
        let request = kind.request(&components.cognito);
        runtime.block_on(warm_up(&components, &request));
        calls += WARM_UP_CALLS;
        // The writer has then taken all records, so its buffer has room for those to come.
        wait_for_records(&records, calls);
        let _there = runtime.enter();
        // The tests log at trace level, where a hit allocates for its log lines.
        let _quiet = dispatcher::set_default(&Dispatch::none());
        let counts = vec![request; TIMES].into_iter().map(|request| {
            let allocated = measure(|| assert!(answer(&components, request) > 0));
            allocated.count_total
        });
        let counts: Vec<_> = counts.collect();
        let more: Vec<_> = counts.iter().filter(|count| **count != listed).collect();
        assert!(
            more.len() <= MAINTENANCE && more.iter().all(|count| (listed..=listed + CACHES).contains(count)),
            "{}: {listed} are listed, not {counts:?}",
            kind.name()
        );
        calls += TIMES;
    }
}

fn wait_for_records(records: &Path, count: usize) {
    for _ in 0..6_000 {
        if fs::read_to_string(records).unwrap().lines().count() == count {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("the records are never written");
}

// A hit looks into two caches at most, of the tokens and of the users. moka applies the reads of a
// cache with one allocation, on the thread that makes the 64th read, or the first after 300 ms.
const CACHES: u64 = 2;
const MAINTENANCE: usize = 4;
// The records of so many calls fit into the writer's empty buffer of 36 KiB.
const TIMES: usize = 64;

// The allocations by sub, those by token, and their cause. A reallocation counts again. The release
// build makes as many calls, as callgrind counts in `benches/hit`. Allocations of C code do not
// count.
const LISTED: &[(u64, u64, &str)] = &[
    (1, 1, "service::request_id: the id, as a header"),
    (1, 1, "service::dispatch: the future of the answer, in a box"),
    (1, 0, "prost: sub, as it was sent"),
    (1, 0, "wire: sub, shared"),
    (1, 1, "audit::names: the released attribute names"),
    (1, 1, "wire: the message, encoded in its frame"),
    (1, 1, "memory: the frame, with what counts it"),
    (2, 2, "http: the headers of the answer"),
    (2, 2, "http: its trailers"),
];
