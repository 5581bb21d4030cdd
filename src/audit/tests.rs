use std::fs;

use tempfile::TempDir;
use tokio::{sync::oneshot::error::TryRecvError, time::timeout};

use super::*;
use crate::{
    attribute::Selection,
    config::{ErrorCollector, PoolSettings},
    freshness::FreshnessRequirement,
    query::{BatchQuery, Query, Target},
    user::Sub,
};

#[test]
fn settings_give_a_sink_and_a_key_or_errors() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| Some(folder.path().join(name).display().to_string());
    fs::write(folder.path().join("weak"), "weak").unwrap();
    let off = AuditSettings { sink: AuditSink::Off, ..AuditSettings::default() };
    let file = AuditSettings { sink: AuditSink::File, path: path("audit.jsonl"), ..AuditSettings::default() };
    let table = [
        (AuditSettings::default(), ""),
        (off.clone(), ""),
        (file.clone(), ""),
        (AuditSettings { path: Some("audit.jsonl".into()), ..file.clone() }, ""),
        (AuditSettings { path: None, ..file.clone() }, "audit.path: must be set if"),
        (AuditSettings { path: path(""), ..file.clone() }, "audit.path: is a directory"),
        (
            AuditSettings { path: path("none/audit"), ..file.clone() },
            "audit.path: is in a directory that does not exist",
        ),
        (AuditSettings { sink: AuditSink::Stdout, ..file.clone() }, "audit.sink: must be \"file\""),
        (AuditSettings { required: true, ..off }, "audit.required: needs a sink"),
        (AuditSettings { key_file: path("none"), ..file.clone() }, "audit.key_file: "),
        (AuditSettings { key_file: path("weak"), ..file }, "has fewer than 32 bytes"),
    ];
    for (audit, expected) in table {
        match (read(audit.clone()), expected) {
            (Ok(_), "") => {}
            (Err(errors), expected) if !expected.is_empty() => assert!(errors.contains(expected), "{errors}"),
            (read, _) => panic!("{audit:?}: {read:?}"),
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is opened");
}

#[tokio::test]
async fn a_call_leaves_one_record_however_it_ends() {
    let trail = TestTrail::begin(|_| {});
    let recorder = trail.audit.recorder();
    let buffered = |ack: Option<WriteAck>| assert!(ack.is_none(), "{ack:?}");
    buffered(recorder.open("s/M", "answered", true).close(Ok(())));
    buffered(recorder.open("s/M", "refused", true).close(Err("DEADLINE")));
    drop(recorder.open("s/M", "cancelled", true));
    drop(recorder.open("s/M", "ignored", false));
    buffered(recorder.open("s/M", "ignored", false).close(Ok(())));
    let expected = [("answered", "answered"), ("refused", "DEADLINE"), ("cancelled", "cancelled")];
    assert_eq!(trail.end().await, expected.map(|(id, outcome)| (id.to_owned(), outcome.to_owned())));
}

#[tokio::test]
async fn a_call_names_the_pools_that_it_began_with() {
    let trail = TestTrail::begin(|_| {});
    let pools = trail.audit.0.as_ref().unwrap().pools.load_full();
    let recorder = trail.audit.recorder();
    let [kept, late] = ["kept", "late"].map(|id| {
        let record = recorder.open("s/M", id, true);
        record
            .set_target(&Target { sub: "ada".parse().unwrap(), pool: Some("eu-west-1_A".parse().unwrap()) });
        record
    });
    let kept = kept.of_pools(&pools);
    let other = PoolSettings { id: "eu-west-1_B".into(), ..pool() };
    let config = Config { pools: vec![other], ..Config::default() };
    trail.audit.set_pools(&Pools::read(&config, &mut ErrorCollector::new(&config)).unwrap());
    drop((kept.close(Ok(())), late.close(Ok(()))));
    let path = trail.folder.path().join("audit.jsonl");
    let Some(writing) = trail.writing else { unreachable!() };
    writing.end().await;
    let text = fs::read_to_string(path).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&records[0]["pool"], records[0]["sub_hash"].is_string()), (&"eu-west-1_A".into(), true));
    assert!(records[1]["pool"].is_null(), "a pool that is not served is not named");
}

#[tokio::test]
async fn a_required_record_is_acknowledged_when_it_is_written() {
    let mut trail = TestTrail::read(|settings| settings.required = true);
    let recorder = trail.audit.recorder();
    let mut written = recorder.open("s/M", "one", true).close(Ok(())).unwrap();
    assert_eq!(written.try_recv(), Err(TryRecvError::Empty), "there is no writer yet");
    trail.writing = Some(trail.audit.start().unwrap());
    timeout(Duration::from_secs(30), written).await.unwrap().unwrap();
    assert_eq!(trail.records(), [("one".to_owned(), "answered".to_owned())]);
    drop(recorder.open("s/M", "two", true));
    assert_eq!(trail.end().await.len(), 2);
}

#[tokio::test]
async fn records_that_exceed_the_capacity_are_dropped_and_counted() {
    let trail = TestTrail::read(|settings| settings.max_bytes = 64 * 1024);
    let required = TestTrail::read(|settings| (settings.max_bytes, settings.required) = (64 * 1024, true));
    for (trail, is_required) in [(trail, false), (required, true)] {
        // There is no writer yet.
        let recorder = trail.audit.recorder();
        let mut acks: Vec<_> = (0..1_000).map(|_| recorder.open("s/M", "r", true).close(Ok(()))).collect();
        let lost = acks.iter_mut().flatten().map(is_lost).filter(|is_lost| *is_lost).count();
        let dropped = usize::try_from(trail.metrics.server.audit_records_dropped.get()).unwrap();
        assert!(dropped > 0 && lost == if is_required { dropped } else { 0 }, "{lost} {dropped}");
        // Each thread has its own capacity.
        drop(recorder.for_another_thread().open("s/M", "other", true));
        let mut trail = trail;
        trail.writing = Some(trail.audit.start().unwrap());
        assert_eq!(trail.end().await.len(), 1_001 - dropped);
    }
}

#[tokio::test]
async fn the_records_of_a_batch_are_written_or_dropped_together() {
    let trail = TestTrail::read(|settings| (settings.max_bytes, settings.required) = (64 * 1024, true));
    let recorder = trail.audit.recorder();
    // There is no writer yet.
    let mut written = batch(&recorder, 150).unwrap();
    assert_eq!(written.try_recv(), Err(TryRecvError::Empty));
    assert!(is_lost(&mut batch(&recorder, 150).unwrap()));
    assert_eq!(trail.metrics.server.audit_records_dropped.get(), 150, "all records of a call");
    let shared = trail.audit.0.as_ref().unwrap();
    let pending = shared.buffers.lock().unwrap()[0].lock().unwrap().take();
    assert_eq!(pending.lines.iter().filter(|byte| **byte == b'\n').count(), 150);
    let ends: Vec<_> = pending.waiters.iter().map(|waiter| waiter.end).collect();
    assert_eq!(ends, [pending.lines.len()], "the last record acknowledges all");
}

fn is_lost(ack: &mut WriteAck) -> bool {
    ack.try_recv() == Err(TryRecvError::Closed)
}

/// Ends a call about several users, all of them refused.
fn batch(recorder: &Recorder, users: usize) -> Option<WriteAck> {
    let subs: Vec<Sub> = (0..users).map(|n| format!("user-{n}").parse().unwrap()).collect();
    let query = Query {
        sub: None,
        pool: None,
        attributes: Selection::All,
        include_groups: false,
        freshness: FreshnessRequirement::Any,
    };
    let record = recorder.open("s/M", "batch", true);
    record.set_batch(&BatchQuery { order: (0..users).collect(), subs, query });
    record.set_denials((0..users).map(|_| None));
    let refused = || Err::<(std::iter::Empty<&str>, _), _>("USER_NOT_FOUND");
    record.set_user_outcomes((0..users).map(|_| refused()));
    record.close(Ok(()))
}

impl Audit {
    /// Makes a trail in a file, to test what is recorded above.
    pub(crate) fn for_test(path: &Path) -> (Self, WriterHandle) {
        let path = Some(path.display().to_string());
        let settings = AuditSettings { sink: AuditSink::File, path, ..AuditSettings::default() };
        let (audit, _) = read(settings).unwrap();
        let writing = audit.start().unwrap();
        (audit, writing)
    }
}

/// A trail in a file of its own.
#[derive(Debug)]
struct TestTrail {
    audit: Audit,
    metrics: Metrics,
    writing: Option<WriterHandle>,
    folder: TempDir,
}

impl TestTrail {
    fn read(change: impl FnOnce(&mut AuditSettings)) -> Self {
        let folder = TempDir::new().unwrap();
        let path = Some(folder.path().join("audit.jsonl").display().to_string());
        let mut settings = AuditSettings { sink: AuditSink::File, path, ..AuditSettings::default() };
        change(&mut settings);
        let (audit, metrics) = read(settings).unwrap();
        Self { audit, metrics, writing: None, folder }
    }

    fn begin(change: impl FnOnce(&mut AuditSettings)) -> Self {
        let test = Self::read(change);
        let writing = Some(test.audit.start().unwrap());
        Self { writing, ..test }
    }
}

impl TestTrail {
    /// The request id and the outcome of each record.
    fn records(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        let field = |line: &str, key: &str| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            record[key].as_str().unwrap().to_owned()
        };
        text.lines().map(|line| (field(line, "request_id"), field(line, "outcome"))).collect()
    }

    async fn end(mut self) -> Vec<(String, String)> {
        self.writing.take().unwrap().end().await;
        self.records()
    }
}

fn pool() -> PoolSettings {
    PoolSettings { id: "eu-west-1_A".into(), app_clients: vec!["a".into()], ..PoolSettings::default() }
}

fn read(audit: AuditSettings) -> Result<(Audit, Metrics), String> {
    let config = Config { audit, pools: vec![pool()], ..Config::default() };
    let (metrics, mut errors) = (Metrics::new(), ErrorCollector::new(&config));
    let pools = Pools::read(&config, &mut errors);
    let audit = Audit::read(&config, pools.as_ref(), &metrics, &mut errors);
    errors.finish(audit.map(|audit| (audit, metrics))).map_err(|errors| errors.to_string())
}
