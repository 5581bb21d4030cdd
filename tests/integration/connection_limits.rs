//! The limits of connections: per peer, in total, per worker, and with few file descriptors.

use cognito_lookup::proto::user_service_client::UserServiceClient;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::support::{
    ADA, App, about,
    attack::{
        LONG, SHORT, open_from, reconnect_for_ever, refused_by, single_worker, wait_until_accepted,
        while_calling,
    },
    connect, metric,
    process::Process,
    standin,
};

#[tokio::test]
async fn connections_are_limited_per_peer() {
    let app = single_worker(|config| config.limits.connections_per_peer = 3).await;
    let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let attack = async {
        let mut held =
            vec![open_from(one, app.address).await.unwrap(), open_from(one, app.address).await.unwrap()];
        for _ in 0..20 {
            assert!(open_from(one, app.address).await.is_err());
        }
        for _ in 0..3 {
            held.push(open_from(other, app.address).await.expect("another peer has a share of its own"));
        }
        assert!(open_from(other, app.address).await.is_err());
        held
    };
    let mut held = while_calling(&app, attack).await;
    assert_eq!(app.metric(&refused_by("ConnectionsPerPeer")).await, 21.0);
    drop(held.remove(0));
    while_calling(&app, wait_until_accepted(one, app.address)).await;
    assert_eq!(app.metric(&refused_by("Connections")).await, 0.0);
}

#[tokio::test]
async fn connections_are_limited_in_all() {
    let app = single_worker(|config| config.limits.connections = 4).await;
    let attack = async {
        let sources = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]];
        let held = join_all(sources.map(|source| open_from(source, app.address))).await;
        for n in 0..20 {
            assert!(open_from([127, 0, 0, n + 1], app.address).await.is_err());
        }
        held
    };
    let mut held = while_calling(&app, attack).await;
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(app.metric(&refused_by("Connections")).await, 20.0);
    drop(held.remove(0));
    while_calling(&app, wait_until_accepted([127, 0, 0, 4], app.address)).await;
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    for workers in [2, 3, 8] {
        let app = App::start_with_config(|config| config.workers = workers).await;
        let series: Vec<_> =
            (0..workers).map(|n| format!("cognito_lookup_connections{{worker=\"{n}\"}}")).collect();
        let loads = async || join_all(series.iter().map(|series| app.metric(series))).await;
        let most = 8_usize.div_ceil(workers) as f64;
        let spread =
            |loads: &[f64]| loads.iter().sum::<f64>() == 8.0 && loads.iter().all(|load| *load <= most);
        let mut held = Vec::new();
        for _ in 0..7 {
            held.push(open_from([127, 0, 0, 1], app.address).await.unwrap());
        }
        let now = loads().await;
        assert!(spread(&now), "{now:?}");
        // Some connections close, and new ones take their place.
        held.truncate(3);
        let gone = async { while loads().await.iter().sum::<f64>() > 4.0 {} };
        timeout(LONG, gone).await.expect("a closed connection is not counted any more");
        for _ in 0..4 {
            held.push(open_from([127, 0, 0, 1], app.address).await.unwrap());
        }
        let now = loads().await;
        assert!(spread(&now), "{now:?}");
    }
}

/// A thousand connections, to a process with 256 file descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn with_few_descriptors_some_are_reserved_for_cognito() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 2\n[limits]\nconnections_per_peer = 10000";
    let process = Process::serve_with_shell("ulimit -n 256; exec \"$0\" \"$@\"", &cognito, settings, &[]);
    let address = process.address.parse().unwrap();
    let warned = process.start.iter().filter(|line| line["connections"] == 120 && line["level"] == "WARN");
    assert_eq!(warned.count(), 1, "{:?}", process.start);
    let good = UserServiceClient::new(connect(address).await);
    let mut held = Vec::new();
    for _ in 0..20 {
        let fifty = join_all((0..50).map(|_| open_from([127, 0, 0, 1], address))).await;
        held.extend(fifty.into_iter().flatten());
        assert!(good.clone().get_user(about(ADA)).await.is_ok());
    }
    assert_eq!(held.len(), 119);
    let refused = 1000 - held.len();
    assert_eq!(metric(process.admin, &refused_by("Connections")).await as usize, refused);
    // Each of these calls needs its own connection to Cognito.
    let gate = cognito.hold("AdminGetUser");
    let asked = cognito.calls("AdminGetUser");
    let lookups = join_all((0..40).map(|n| {
        let mut good = good.clone();
        async move { good.get_user(about(&format!("nobody-{n}"))).await.unwrap_err().code() }
    }));
    let opening = async {
        cognito.wait_for_calls("AdminGetUser", asked + 40).await;
        gate.release();
    };
    let (codes, ()) = tokio::join!(lookups, opening);
    assert_eq!(codes, [Code::NotFound; 40]);
    drop(held);
    wait_until_accepted([127, 0, 0, 1], address).await;
    assert_eq!(metric(process.admin, ACCEPT_FAILURES).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_too_few_descriptors_the_start_fails() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 1";
    let process = Process::start_with_shell("ulimit -n 64; exec \"$0\" \"$@\"", &cognito, settings, &[]);
    let (code, lines) = process.failed();
    let text = format!("{lines:?}");
    assert!(
        code == Some(1) && text.contains("limit on open files is 64, and 164 are needed"),
        "{code:?} {text}"
    );
}

/// The soft limit is raised as far as the hard one, here from 64.
#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_the_acceptor_pauses_warns_once_and_recovers() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 1\n[shutdown]\ndelay = \"0s\"";
    let line = "ulimit -Sn 64; ulimit -Hn 1000; exec \"$0\" \"$@\"";
    let process = Process::serve_with_shell(line, &cognito, settings, &[]);
    assert_eq!(process.limit_files(1000), 1000);
    let address = process.address.parse().unwrap();
    let mut good = UserServiceClient::new(connect(address).await);
    assert!(good.get_user(about(ADA)).await.is_ok());
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(open_from([127, 0, 0, 1], address).await.unwrap());
    }
    // Fewer than are open.
    process.limit_files(64);
    let begun = Instant::now();
    let asking = async {
        while begun.elapsed() < SHORT {
            assert!(good.get_user(about(ADA)).await.is_ok());
        }
    };
    let waiting = join_all((0..5).map(|_| reconnect_for_ever(address)));
    tokio::select! {
        () = asking => {}
        _ = waiting => {}
    }
    process.limit_files(1000);
    drop(held);
    wait_until_accepted([127, 0, 0, 1], address).await;
    let failures = metric(process.admin, ACCEPT_FAILURES).await;
    assert!(failures > 1.0, "{failures}");
    process.wait_for_log("cannot accept connections");
    drop(good);
    process.signal("TERM");
    let lines = process.log_until("stopped");
    assert!(lines.iter().all(|line| line["level"] != "WARN"), "{lines:?}");
}

const ACCEPT_FAILURES: &str = "cognito_lookup_accept_failures_total";
