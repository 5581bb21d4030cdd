//! The consumer in front of a scripted queue, on a paused clock.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::{
    pool::BareSubLookup,
    shared_cache::model::{ModelLink, ModelStore},
    telemetry::metrics::events::EventOutcome,
    users::test_pool,
};

/// A queue that records what is asked of it.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The bodies of the messages, each received once.
    messages: Vec<String>,
    /// The next so many receives are refused.
    refusals: usize,
    receives: Vec<(Instant, i64)>,
    /// How long each receive may wait, in seconds.
    waits: Vec<i64>,
    in_flight: usize,
    most_in_flight: usize,
    deleted: Vec<String>,
}

impl Script {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn send(&self, bodies: &[&str]) {
        self.state().messages.extend(bodies.iter().map(ToString::to_string));
    }

    async fn answer(self, operation: String, input: Value) -> (u16, Value) {
        if operation == "DeleteMessageBatch" {
            let entries = input["Entries"].as_array().unwrap();
            let receipts = entries.iter().map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned());
            self.state().deleted.extend(receipts);
            return (200, json!({"Successful": entries, "Failed": []}));
        }
        {
            let mut state = self.state();
            let most = input["MaxNumberOfMessages"].as_i64().unwrap();
            state.receives.push((Instant::now(), most));
            state.waits.push(input["WaitTimeSeconds"].as_i64().unwrap());
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            if state.refusals > 0 {
                (state.refusals, state.in_flight) = (state.refusals - 1, state.in_flight - 1);
                return (403, json!({"__type": "com.amazon.coral.service#AccessDenied"}));
            }
        }
        // A long poll: until there is a message, and for the longest time that SQS allows.
        for _ in 0..200 {
            if !self.state().messages.is_empty() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let mut state = self.state();
        state.in_flight -= 1;
        let message = |body| json!({"MessageId": body, "ReceiptHandle": body, "Body": body, "Attributes": {"ApproximateReceiveCount": "1"}});
        let messages: Vec<_> = state.messages.drain(..).map(message).collect();
        (200, json!({"Messages": messages}))
    }

    fn queue(&self) -> Queue {
        let script = self.clone();
        Queue::before(Arc::new(move |operation, input| script.clone().answer(operation, input).boxed()))
    }
}

/// Runs the consumer for a time.
async fn run_for(seconds: u64, script: &Script, users: &Users) -> EventMetrics {
    let metrics = EventMetrics::default();
    let applier = Applier {
        users: users.clone(),
        pools: watch::channel(Pools::of([Arc::new(test_pool(BareSubLookup::AdminGetUser))])).1,
        audit: Recorder::off(),
        skew: Duration::from_secs(2),
        revoke_on: Vec::new(),
        metrics: metrics.clone(),
        applied: Applied::default(),
        notices: Notices::default(),
        repeats: Repeats::channel().0,
    };
    let running = Consumer::run(script.queue(), applier, Duration::from_secs(600));
    assert!(timeout(Duration::from_secs(seconds), running).await.is_err(), "it has no end");
    metrics
}

fn alone() -> Users {
    Users::with_cached(&test_pool(BareSubLookup::AdminGetUser).id, &[])
}

fn pauses(script: &Script) -> Vec<Duration> {
    let state = script.state();
    state.receives.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

const FOREIGN: &str = r#"{"source": "aws.iam", "detail": {}}"#;

#[tokio::test(start_paused = true)]
async fn one_receive_is_in_flight_and_waits_as_long_as_sqs_allows() {
    let script = Script::default();
    run_for(1_000, &script, &alone()).await;
    assert_eq!(script.state().most_in_flight, 1);
    let pauses = pauses(&script);
    assert!((45..=50).contains(&pauses.len()), "{}", pauses.len());
    assert!(pauses.iter().all(|pause| (19..=21).contains(&pause.as_secs())), "{pauses:?}");
    assert!(script.state().receives.iter().all(|(_, most)| *most == 10));
    let waits = script.state().waits.clone();
    assert_eq!(waits[0], 0, "the first one shows at once that the queue can be read");
    assert!(waits[1..].iter().all(|wait| *wait == 20), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn refused_receives_are_repeated_ever_more_slowly_and_one_that_succeeds_ends_that() {
    let script = Script::default();
    script.state().refusals = 9;
    script.send(&[FOREIGN]);
    run_for(400, &script, &alone()).await;
    let pauses = pauses(&script);
    for (failure, pause) in pauses.iter().take(9).enumerate() {
        let most = Duration::from_secs(1 << failure.min(5));
        assert!(
            *pause <= most + Duration::from_millis(100) && *pause >= most * 3 / 4,
            "{failure}: {pause:?}"
        );
    }
    assert!(pauses[9] < Duration::from_secs(1), "a receive follows at once: {pauses:?}");
    let most: Vec<_> = script.state().receives.iter().map(|(_, most)| *most).take(12).collect();
    assert_eq!(most, [10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10, 10]);
    assert_eq!(script.state().deleted, [FOREIGN]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_never_read_is_stale_and_nothing_else() {
    let script = Script::default();
    script.state().refusals = usize::MAX;
    let users = alone();
    assert!(!run_for(590, &script, &users).await.is_stale());
    assert!(run_for(620, &script, &users).await.is_stale());
    script.state().refusals = 5;
    assert!(!run_for(620, &script, &users).await.is_stale());
}

#[tokio::test(start_paused = true)]
async fn while_the_shared_cache_is_not_asked_nothing_is_received() {
    let (script, link) = (Script::default(), link());
    let users = Users::replica(&link);
    link.change(|faults| faults.is_cut_off = true);
    script.send(&[FOREIGN]);
    let metrics = run_for(700, &script, &users).await;
    assert_eq!(script.state().receives, [], "the queue keeps it");
    assert!(metrics.is_stale(), "the gauge is set");
    link.change(|faults| faults.is_cut_off = false);
    run_for(5, &script, &users).await;
    assert_eq!(script.state().deleted, [FOREIGN]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_applied_everywhere_is_not_deleted() {
    let (script, link) = (Script::default(), link());
    let users = Users::replica(&link);
    link.change(|faults| faults.dropped_replies = 100);
    let detail = json!({"userPoolId": "eu-west-1_A", "sub": "ada", "change": "ATTRIBUTES", "time": "2026-01-01T00:00:00Z"});
    let change = json!({"detail-type": "User Change", "detail": detail}).to_string();
    script.send(&[FOREIGN, &change, "no event"]);
    let metrics = run_for(10, &script, &users).await;
    assert_eq!(script.state().deleted, [FOREIGN], "the others return after the visibility timeout");
    let counted = |event, outcome| metrics.counted(event, outcome);
    assert_eq!(counted("UserChange", EventOutcome::Retried), 1);
    assert_eq!(counted(OTHER, EventOutcome::Malformed), 1);
    link.change(|faults| faults.dropped_replies = 0);
    script.send(&[&change]);
    run_for(10, &script, &users).await;
    assert_eq!(script.state().deleted, [FOREIGN, &change]);
}

fn link() -> Arc<ModelLink> {
    Arc::new(ModelStore::new().link())
}
