use std::time::SystemTime;

use futures_util::FutureExt as _;
use tokio::time::{Instant, advance};

use super::*;
use crate::telemetry::metrics::Metrics;

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_20_minutes_and_a_million_changes_of_others() {
    let changes = alone(8);
    let watch = open(&changes, &["ada"], "").await.unwrap();
    let mut token = checkpoint(&watch).resume_token;
    // 25 min of changes of other users, more than the log keeps. The stream only gets checkpoints.
    for n in 0..1_500_u32 {
        (0..700).for_each(|other| change(&changes, &format!("user-{n}-{other}")));
        advance(Duration::from_secs(1)).await;
        if n % 30 == 0 {
            token = checkpoint(&watch).resume_token;
        }
    }
    let (events, bytes) = changes.0.as_ref().unwrap().lock().log.size();
    assert!(events <= 100_000 && bytes <= 32 << 20, "{events} events, {bytes} bytes");
    drop(watch);
    let watch = open(&changes, &["ada"], &token).await.unwrap();
    change(&changes, "ada");
    assert!(matches!(next(&watch), Some(Ok(Item::Change(_)))));
}

#[tokio::test(start_paused = true)]
async fn a_change_costs_only_those_that_watch_its_user() {
    let changes = alone(20_000);
    let mut streams = Vec::new();
    for n in 0..10_000 {
        streams.push(open(&changes, &[&format!("user-{n}")], "").await.unwrap());
    }
    change(&changes, "user-7");
    let woken: Vec<_> = (0..10_000).filter(|n| next(&streams[*n]).is_some()).collect();
    assert_eq!(woken, [7]);
    let index = || changes.0.as_ref().unwrap().lock().streams.index_size();
    assert_eq!(index(), (10_000, 0, 1));
    drop(streams);
    assert_eq!(index(), (0, 0, 0), "a stream that ends leaves nothing behind");
}

#[tokio::test(start_paused = true)]
async fn a_backlog_does_not_make_a_stream_slow() {
    let changes = alone(8);
    let watch = open(&changes, &[], "").await.unwrap();
    let token = checkpoint(&watch).resume_token;
    drop(watch);
    (0..5_000).for_each(|n| change(&changes, &format!("user-{n}")));
    let watch = open(&changes, &[], &token).await.unwrap();
    for n in 0..5_000 {
        let Some(Ok(Item::Change(delivery))) = next(&watch) else { panic!("{n} is missing") };
        assert_eq!(delivery.sub.as_str(), format!("user-{n}"));
    }
    assert!(next(&watch).is_none());
    // One that has come to the end is slow if too many users are pending.
    (0..2_000).for_each(|n| change(&changes, &format!("user-{n}")));
    assert!(matches!(next(&watch), Some(Err(StreamEnd::TooSlow))));
}

#[tokio::test(start_paused = true)]
async fn two_changes_in_one_second_are_both_told() {
    let changes = alone(8);
    let watch = open(&changes, &["ada"], "").await.unwrap();
    for kind in [ChangeKind::Attributes, ChangeKind::Groups] {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let change = Change { changed_at: Some(at), ..Change::seen(kind, at) };
        changes.append(user("ada"), change);
        let Some(Ok(Item::Change(delivery))) = next(&watch) else { panic!("{kind:?} is missing") };
        assert_eq!(delivery.change.kinds, kind.into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_users_that_nobody_names_ends_the_streams_of_its_pool_and_kind() {
    let changes = alone(20);
    let open = async |(pool, kinds): (Option<&str>, ChangeKinds), token: &str| {
        let pool = pool.map(|id| id.parse().unwrap());
        let filter = WatchFilter { pool, subs: Vec::new(), kinds };
        changes.open(Watcher { caller: "web".into(), filter, resume_token: token.to_owned() }).await.unwrap()
    };
    let (own, other) = (Some("eu-west-1_A"), Some("eu-west-1_B"));
    let table = [
        ((None, ChangeKinds::ALL), true),
        ((own, ChangeKind::Groups.into()), true),
        ((own, ChangeKind::Attributes.into()), false),
        ((other, ChangeKinds::ALL), false),
    ];
    let mut opened = Vec::new();
    for (filter, is_lost) in table {
        let watch = open(filter, "").await;
        let token = checkpoint(&watch).resume_token;
        opened.push((filter, is_lost, watch, token));
    }
    let groups = Change::seen(ChangeKind::Groups, TimePoint::now().system);
    changes.append(Changed::SomeOf(user("ada").0), groups);
    for (filter, is_lost, watch, token) in opened {
        let ends = |watch: &Subscription| matches!(next(watch), Some(Err(StreamEnd::Lost)));
        assert_eq!(ends(&watch), is_lost, "{filter:?}");
        assert_eq!(ends(&open(filter, &token).await), is_lost, "{filter:?}, with a token from before");
        assert!(!ends(&open(filter, "").await), "{filter:?}, from now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_says_how_late_the_source_is() {
    let changes = alone(8);
    let watch = open(&changes, &["ada"], "").await.unwrap();
    let first = checkpoint(&watch);
    assert_eq!((first.source_healthy, first.source_lag), (false, None));
    changes.note_receive();
    let now = TimePoint::now().system;
    let changed_at = Some(now - Duration::from_secs(7));
    changes.append(user("bob"), Change { changed_at, ..Change::seen(ChangeKind::Groups, now) });
    change(&changes, "bob");
    let second = checkpoint(&watch);
    assert_eq!((second.source_healthy, second.source_lag), (true, Some(Duration::from_secs(7))));
    assert_eq!(second.seen_through, now - Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_log_of_replicas_is_waited_for() {
    let sealer = Sealer::of_this_process().unwrap();
    let settings = WatchSettings::default();
    let changes = Changes::start(&settings, Some(sealer), &Metrics::new().watch).unwrap();
    assert!(changes.is_waiting());
    assert_eq!(open(&changes, &[], "").await.err(), Some(OpenError::NotReady));
    changes.append(user("ada"), Change::seen(ChangeKind::Groups, SystemTime::UNIX_EPOCH));
    changes.begin("a", Place { number: 4, id: EventId::at(5) }, Vec::new());
    assert!(!changes.is_waiting());
    let watch = open(&changes, &[], "").await.unwrap();
    assert!(next(&watch).is_none());
    changes.drain();
    assert!(matches!(next(&watch), Some(Err(StreamEnd::Moved))));
    assert_eq!(open(&changes, &[], "").await.err(), Some(OpenError::Draining));
    assert_eq!(open(&Changes::off(), &[], "").await.err(), Some(OpenError::NotReady));
}

fn alone(streams: usize) -> Changes {
    let settings = WatchSettings { streams, streams_per_caller: streams, ..WatchSettings::default() };
    Changes::start(&settings, None, &Metrics::new().watch).unwrap()
}

async fn open(changes: &Changes, subs: &[&str], token: &str) -> Result<Subscription, OpenError> {
    let filter = WatchFilter {
        pool: Some(user("ada").0),
        subs: subs.iter().map(|sub| sub.parse().unwrap()).collect(),
        kinds: ChangeKinds::ALL,
    };
    changes.open(Watcher { caller: "web".into(), filter, resume_token: token.to_owned() }).await
}

fn next(watch: &Subscription) -> Option<Result<Item, StreamEnd>> {
    watch.next(Instant::now() + Duration::from_secs(60)).now_or_never()
}

fn checkpoint(watch: &Subscription) -> CheckpointInfo {
    assert!(next(watch).is_none(), "a change comes before a checkpoint");
    watch.checkpoint().unwrap()
}

fn change(changes: &Changes, sub: &str) {
    changes.append(user(sub), Change::seen(ChangeKind::Attributes, TimePoint::now().system));
}

fn user(sub: &str) -> ChangedUser {
    ("eu-west-1_A".parse().unwrap(), sub.parse().unwrap())
}
