use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

use super::*;
use crate::telemetry::metrics::Metrics;

const MIB: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

fn limit(metrics: &Metrics) -> MemoryLimit {
    MemoryLimit::new(64 * MIB, 48 << 10, metrics)
}

fn connection() -> ConnectionMemory {
    ConnectionMemory::open(&limit(&Metrics::new())).unwrap()
}

fn taken(metrics: &Metrics) -> i64 {
    metrics.text();
    metrics.server.connection_memory.get()
}

#[test]
fn what_calls_took_is_returned() {
    let metrics = Metrics::new();
    let limit = limit(&metrics);
    let one = ConnectionMemory::open(&limit).unwrap();
    let alone = taken(&metrics);
    assert_eq!(alone, 64 << 10);
    let charges: Vec<_> = (0..10).map(|_| one.charge(60 << 10).unwrap()).collect();
    assert_eq!(taken(&metrics), alone + (640 << 10), "whole steps of 64 KiB");
    drop(charges);
    assert!(taken(&metrics) <= alone + (64 << 10), "{}", taken(&metrics));
    let late = one.charge(1).unwrap();
    drop(one);
    assert!(taken(&metrics) > 0, "a response outlives its connection");
    drop(late);
    assert_eq!(taken(&metrics), 0);
}

#[tokio::test(start_paused = true)]
async fn no_connection_takes_all_and_strangers_take_two_thirds() {
    let metrics = Metrics::new();
    let limit = limit(&metrics);
    let open = || ConnectionMemory::open(&limit).unwrap();
    let fill = |connection: &ConnectionMemory| {
        std::iter::from_fn(|| connection.charge(256 << 10).ok()).collect::<Vec<_>>()
    };
    let (stranger, known) = (open(), open());
    known.set_known();
    let held = fill(&stranger);
    assert_eq!(held.len(), 3, "a stranger has a 64th");
    assert_eq!((stranger.read(0), stranger.read(0)), (Some(Duration::from_millis(2560)), None));
    assert_eq!(fill(&known).len(), 63, "a known connection has a quarter");
    assert_eq!(known.read(usize::MAX), None);
    let strangers: Vec<_> = (0..100).map(|_| open()).map(|one| (fill(&one), one)).collect();
    let all: usize = strangers.iter().map(|(held, _)| held.len()).sum();
    assert!((100..171).contains(&all), "two thirds of the limit: {all}");
    assert!(fill(&known).len() > 40, "the rest is left, but an eighth for new connections");
    assert!(metrics.server.memory_refusals.get() > 100);
}

#[tokio::test(start_paused = true)]
async fn strangers_are_read_at_a_bounded_rate() {
    let limit = limit(&Metrics::new());
    let one = ConnectionMemory::open(&limit).unwrap();
    assert_eq!(one.read(60 << 10), None, "a burst");
    let (mut bytes, begun) = (0, Instant::now());
    while begun.elapsed() < TIMEOUT {
        bytes += 16 << 10;
        sleep(one.read(16 << 10).unwrap_or_default()).await;
    }
    // Of 4 MiB a second, less what one alone loses by its waits.
    assert!((2 * MIB..41 * MIB).contains(&bytes), "{bytes}");
    let crowd: Vec<_> = (0..200).map(|_| ConnectionMemory::open(&limit).unwrap()).collect();
    let (mut bytes, begun) = (0, Instant::now());
    while begun.elapsed() < TIMEOUT {
        for one in &crowd {
            bytes += if one.read(1 << 10).is_none() { 1 << 10 } else { 0 };
        }
        sleep(TIMEOUT / 100).await;
    }
    assert!(bytes < 6 * MIB, "512 KiB a second, not {bytes}");
}

#[tokio::test(start_paused = true)]
async fn what_strangers_have_sent_delays_new_ones_for_a_second_at_most() {
    let limit = limit(&Metrics::new());
    let open = || ConnectionMemory::open(&limit).unwrap();
    assert!(open().read(1024 * MIB) < Some(Duration::from_millis(1200)));
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(open().read(1), None);
}

#[test]
fn known_connections_leave_room_for_new_ones() {
    let limit = limit(&Metrics::new());
    let known: Vec<_> = (0..4).map(|_| ConnectionMemory::open(&limit).unwrap()).collect();
    known.iter().for_each(ConnectionMemory::set_known);
    let mut held = Vec::new();
    for one in &known {
        held.extend(std::iter::from_fn(|| one.charge(48 << 10).ok()));
    }
    assert!(held.len() > 1000, "they have taken what they get: {}", held.len());
    let newcomers: Vec<_> = (0..100).map(|_| ConnectionMemory::open(&limit).unwrap()).collect();
    assert!(newcomers.iter().all(|one| one.charge(1 << 10).is_ok()), "and room for a first call");
}

#[tokio::test]
async fn a_new_connection_evicts_the_stranger_with_most() {
    let metrics = Metrics::new();
    // Room for ten strangers, while another one is known.
    let limit = MemoryLimit::new(MIB, 48 << 10, &metrics);
    let open = || ConnectionMemory::open(&limit).unwrap();
    let known = open();
    known.set_known();
    let mut strangers: Vec<_> = (0..9).map(|_| open()).collect();
    let held = strangers[4].charge(48 << 10);
    assert_eq!(held.as_ref().err(), Some(&Exhausted), "a stranger has little");
    let newcomer = open();
    let _other = open();
    strangers[0].evicted().await;
    strangers.remove(0);
    let is_evicted = |one: &ConnectionMemory| one.evicted().now_or_never().is_some();
    assert!(!is_evicted(&known) && !is_evicted(&newcomer) && !is_evicted(&strangers[1]));
}

#[test]
fn beyond_the_limit_connections_are_refused() {
    let metrics = Metrics::new();
    let limit = MemoryLimit::new(MIB, 48 << 10, &metrics);
    let known: Vec<_> = (0..16).map(|_| ConnectionMemory::open(&limit).unwrap()).collect();
    known.iter().for_each(ConnectionMemory::set_known);
    assert_eq!(ConnectionMemory::open(&limit).err(), Some(Exhausted));
    drop(known);
    assert!(ConnectionMemory::open(&limit).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_a_stall() {
    let memory = connection();
    let begun = Instant::now();
    let _response = memory.response(b"answer".to_vec()).unwrap();
    memory.stalled(TIMEOUT).await;
    assert_eq!(begun.elapsed(), 2 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_read_are_no_stall() {
    let memory = connection();
    let whole = memory.response_in_parts(vec![0; 100]).unwrap();
    assert_eq!(whole.len(), 100);
    let reading = async {
        // One part always waits, but none of them for long.
        let mut waiting = memory.part(whole);
        for _ in 0..20 {
            sleep(TIMEOUT / 2).await;
            let next = memory.part(Bytes::new());
            drop(std::mem::replace(&mut waiting, next));
        }
    };
    tokio::select! {
        () = memory.stalled(TIMEOUT) => panic!("stalled"),
        () = reading => {}
    }
}

#[tokio::test(start_paused = true)]
async fn one_unread_response_among_others_is_a_stall() {
    let memory = connection();
    let _forgotten = memory.response(b"answer".to_vec()).unwrap();
    let reading = async {
        loop {
            sleep(TIMEOUT / 4).await;
            drop(memory.response(b"answer".to_vec()).unwrap());
        }
    };
    tokio::select! {
        () = memory.stalled(TIMEOUT) => {}
        () = reading => {}
        () = sleep(3 * TIMEOUT) => panic!("no stall was detected"),
    }
}
