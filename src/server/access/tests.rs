use std::{fs, path::Path};

use tempfile::TempDir;
use tonic::service::Routes;

use super::*;
use crate::{
    audit::WriterHandle,
    background::BackgroundRuntime,
    config::{AuditSettings, AuditSink, AwsCredentials, CallerSettings, PoolSettings, Reads},
    server::{build_service, readiness::Readiness},
};

#[tokio::test]
async fn a_reload_whose_pools_cannot_be_connected_is_recorded_as_refused() {
    let folder = TempDir::new().unwrap();
    let trail = folder.path().join("audit.jsonl");
    let config = config(&trail);
    let components = Components::read(&config).unwrap();
    let writing = components.audit.start().unwrap();
    let (runtime, upstream) = BackgroundRuntime::start("upstream").unwrap();
    let mut access = access(&components, &config, &upstream).await;
    // Nothing can be connected there any more.
    drop(runtime);
    let callers = vec![CallerSettings { name: "other".into(), ..config.callers[0].clone() }];
    let new = Config { callers, ..config };
    let repeat = |is_repeated| Reloading { loaded: Ok(new.clone()), is_repeated };
    access.reload(repeat(false)).await;
    access.reload(repeat(true)).await;
    let metrics = &components.metrics.server;
    let refused = || metrics.settings_reloads.get(ReloadOutcome::Refused).get();
    assert_eq!((refused(), metrics.settings_outdated.get()), (1, 1), "it is said once");
    access.reload(repeat(false)).await;
    assert_eq!(refused(), 2, "another signal gets an answer");
    let (_running, upstream) = BackgroundRuntime::start("upstream").unwrap();
    access.upstream = upstream;
    access.reload(repeat(true)).await;
    assert_eq!((refused(), metrics.settings_outdated.get()), (2, 0));
    assert_eq!(outcomes(writing, &trail).await, ["refused", "refused", "applied"]);
}

async fn access<'a>(components: &'a Components, config: &Config, upstream: &Handle) -> Access<'a> {
    let Components { audit, metrics, pools, .. } = components;
    let service = build_service(components, config, upstream).await.unwrap();
    let (routes, recorder) = (Routes::default(), audit.recorder());
    let (ready, _) = Readiness::channel(pools, false);
    Access {
        components,
        config: config.clone(),
        pools: pools.clone(),
        dispatcher: Dispatcher::new(service.clone(), routes, &config.limits, recorder, metrics),
        service,
        startup: Startup::begin(upstream, ready, metrics.server.clone()),
        recorder: audit.recorder(),
        refused: Vec::new(),
        served: watch::Sender::new(pools.clone()),
        upstream: upstream.clone(),
    }
}

/// The settings of one pool that nothing answers for.
fn config(trail: &Path) -> Config {
    let nowhere = Some("http://127.0.0.1:1".to_owned());
    let pool = PoolSettings {
        id: "eu-west-1_A".into(),
        app_clients: vec!["a".into()],
        jwks_url: nowhere.clone(),
        endpoint_url: nowhere,
        credentials: AwsCredentials::Placeholder,
        ..PoolSettings::default()
    };
    let caller = CallerSettings {
        name: "sidecar".into(),
        network: vec!["127.0.0.0/8".into()],
        reads: Reads::Any,
        attributes: vec!["name".into()],
        ..CallerSettings::default()
    };
    let path = Some(trail.display().to_string());
    let audit = AuditSettings { sink: AuditSink::File, path, ..AuditSettings::default() };
    Config { pools: vec![pool], callers: vec![caller], audit, ..Config::default() }
}

/// Ends the trail, and returns the outcome of each record.
async fn outcomes(writing: WriterHandle, trail: &Path) -> Vec<String> {
    writing.end().await;
    let text = fs::read_to_string(trail).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.map(|record| record["outcome"].as_str().unwrap().to_owned()).collect()
}
