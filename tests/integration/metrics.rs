use std::time::{Duration, SystemTime};

use cognito_lookup::config::AuditSink;
use cognito_standin::{Fault, User};

use crate::{
    support::process::Process,
    support::{ADA, App, BOB, GRACE, http_get, standin},
};

#[tokio::test]
async fn calls_to_cognito_are_counted_by_operation_and_outcome() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert!(app.get_by_sub("nobody").await.is_err());
    let faults = [Fault::ServerError, Fault::Throttle, Fault::AccessDenied, Fault::Hang];
    for (fault, sub) in faults.into_iter().zip(["one", "two", "three", "four"]) {
        app.cognito.inject("AdminGetUser", fault);
        assert!(app.get_by_sub(sub).await.is_err());
    }
    app.cognito.inject("AdminGetUser", Fault::WrongUser("ada".into()));
    assert!(app.get_by_sub(BOB).await.is_ok(), "ListUsers finds him");
    app.cognito.inject("ListUsers", Fault::WrongUser("ada".into()));
    assert!(app.get_by_sub(GRACE).await.is_err());
    let expected = [
        ("AdminGetUser", "Answered", 3.0),
        ("AdminGetUser", "NotFound", 1.0),
        ("ListUsers", "Answered", 3.0),
        ("AdminGetUser", "Throttled", 1.0),
        ("AdminGetUser", "Denied", 1.0),
        ("AdminGetUser", "Failed", 2.0),
        // The total timeout cuts the second attempt.
        ("AdminGetUser", "TimedOut", 2.0),
    ];
    for (operation, outcome, count) in expected {
        let series = format!("upstream_calls_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}");
        assert_eq!(metric(&app, &series).await, count, "{operation} {outcome}");
    }
    for (flaw, count) in [("AnotherUser", 2.0), ("Garbled", 0.0), ("Mismatch", 1.0)] {
        let series = format!("upstream_unusable_answers_total{{flaw=\"{flaw}\"}}");
        assert_eq!(metric(&app, &series).await, count, "{flaw}");
    }
}

#[tokio::test]
async fn the_duration_of_calls_to_cognito_is_a_histogram() {
    let app = App::start().await;
    let held = app.cognito.hold("AdminGetUser");
    let (found, ()) = tokio::join!(app.get_by_sub(ADA), async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        tokio::time::sleep(Duration::from_millis(120)).await;
        drop(held);
    });
    assert!(found.is_ok() && app.get_by_sub("nobody").await.is_err());
    let of = |outcome| format!("operation=\"AdminGetUser\",outcome=\"{outcome}\"");
    for (outcome, calls) in [("Answered", 1.0), ("NotFound", 1.0), ("TimedOut", 0.0)] {
        let count = metric(&app, &format!("upstream_call_seconds_count{{{}}}", of(outcome))).await;
        assert_eq!(count, calls, "{outcome}");
    }
    let took = metric(&app, &format!("upstream_call_seconds_sum{{{}}}", of("Answered"))).await;
    assert!((0.12..2.0).contains(&took), "{took} s");
    for (bound, calls) in [("0.1", 0.0), ("+Inf", 1.0)] {
        let bucket = format!("upstream_call_seconds_bucket{{le=\"{bound}\",{}}}", of("Answered"));
        assert_eq!(metric(&app, &bucket).await, calls, "{bound}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_has_the_usual_metrics() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"");
    let (_, text) = http_get(process.admin, "/metrics").await;
    let value = |name: &str| {
        let found =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    };
    let resident = value("process_resident_memory_bytes") / process.resident() as f64;
    assert!((0.5..2.0).contains(&resident), "{resident}");
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!((0.001..60.0).contains(&value("process_cpu_seconds_total")));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..120.0).contains(&(now - value("process_start_time_seconds"))));
    assert!((5.0..1000.0).contains(&value("process_open_fds")));
    assert!(value("process_max_fds") > value("process_open_fds"));
}

#[tokio::test]
async fn lookups_are_counted_by_outcome() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_secs(2)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert!(app.get_by_sub(ADA).await.is_ok());
    for _ in 0..3 {
        assert!(app.get_by_sub("nobody").await.is_err());
    }
    assert_eq!(lookups(&app).await, [2.0, 1.0, 2.0, 0.0, 0.0]);
    assert_eq!(metric(&app, "cache_refreshes_total").await, 0.0);
    app.cognito.inject("AdminGetUser", Fault::Throttle);
    while lookups(&app).await[4] == 0.0 {
        assert!(app.get_by_sub(ADA).await.is_ok());
    }
    let [_, _, misses, refreshing, _] = lookups(&app).await;
    assert!(misses == 2.0 && refreshing >= 1.0, "{misses} misses, {refreshing} refreshing");
    assert!(metric(&app, "cache_refreshes_total").await >= 1.0);
}

#[tokio::test]
async fn cache_sizes_and_evictions_are_counted() {
    let app = App::start_with_config(|config| {
        config.cache.max_bytes = 1 << 20;
        config.cache.max_absent_bytes = 1 << 20;
    })
    .await;
    for sub in [ADA, BOB, GRACE, "nobody"] {
        drop(app.get_by_sub(sub).await);
    }
    for (store, held) in [("Users", 3.0), ("Absences", 1.0)] {
        assert_eq!(metric(&app, &format!("cache_entries{{store=\"{store}\"}}")).await, held);
        let bytes = metric(&app, &format!("cache_bytes{{store=\"{store}\"}}")).await;
        assert!((200.0 * held..2000.0 * held).contains(&bytes), "{store}: {bytes}");
        assert_eq!(metric(&app, &format!("cache_evictions_total{{store=\"{store}\"}}")).await, 0.0);
    }
    for n in 0..20 {
        let mut person = User::local(format!("large-{n}"), "x");
        person.attributes = (0..60).map(|a| (format!("custom:{a}"), "v".repeat(2000))).collect();
        let sub = person.sub.clone();
        app.cognito.put_user(person);
        assert!(app.get_by_sub(&sub).await.is_ok());
    }
    assert!(metric(&app, "cache_bytes{store=\"Users\"}").await <= f64::from(1 << 20));
    assert!(metric(&app, "cache_evictions_total{store=\"Users\"}").await >= 10.0);
}

#[tokio::test]
async fn the_remaining_rate_limit_is_a_gauge() {
    let app = App::start_with_config(|config| {
        config.budget.user_reads_per_second = Some(1000);
        config.pools[0].account = Some("123456789012".into());
    })
    .await;
    let of =
        |category: &str| format!("{{account=\"123456789012\",region=\"eu-west-1\",category=\"{category}\"}}");
    for (category, allowed) in [("UserRead", 1000.0), ("UserList", 24.0), ("UserResourceRead", 40.0)] {
        for gauge in ["left", "per_second"] {
            let series = format!("upstream_budget_{gauge}{}", of(category));
            assert_eq!(metric(&app, &series).await, allowed, "{series}");
        }
    }
    app.cognito.inject("AdminGetUser", Fault::Throttle);
    assert!(app.get_by_sub(ADA).await.is_err());
    assert!(metric(&app, &format!("upstream_budget_left{}", of("UserRead"))).await < 1000.0);
    assert!(metric(&app, &format!("upstream_budget_per_second{}", of("UserRead"))).await < 1000.0);
}

/// The metric counts without audit records too.
#[tokio::test]
async fn calls_are_counted_by_caller_and_outcome() {
    for sink in [AuditSink::File, AuditSink::Off] {
        let app = App::start_with_config(|config| {
            config.audit.sink = sink;
            config.audit.path = config.audit.path.take().filter(|_| sink == AuditSink::File);
        })
        .await;
        assert!(app.get_by_token(&app.token("ada")).await.is_ok());
        assert!(app.get_by_sub(ADA).await.is_ok());
        assert!(app.get_by_sub("a b").await.is_err());
        assert!(app.get_by_token("forged").await.is_err());
        app.cognito.inject_next("AdminGetUser", 1, Fault::AccessDenied);
        assert!(app.get_by_sub(GRACE).await.is_err());
        let (held, calls) = (app.cognito.hold("AdminGetUser"), app.cognito.calls("AdminGetUser"));
        tokio::select! {
            _ = app.get_by_sub(BOB) => panic!("the call returned while held"),
            () = app.cognito.wait_for_calls("AdminGetUser", calls + 1) => {}
        }
        let of =
            |caller, outcome| format!("caller_requests_total{{caller=\"{caller}\",outcome=\"{outcome}\"}}");
        let cancelled = format!("cognito_lookup_{}", of("sidecar", "Cancelled"));
        app.wait_for_metric(&cancelled, |calls| calls == 1.0).await;
        drop(held);
        for (caller, outcome, calls) in [
            ("web", "Answered", 1.0),
            ("web", "Refused", 0.0),
            ("sidecar", "Answered", 1.0),
            ("sidecar", "Refused", 1.0),
            ("sidecar", "Failed", 1.0),
            ("", "Refused", 1.0),
            ("", "Answered", 0.0),
        ] {
            assert_eq!(metric(&app, &of(caller, outcome)).await, calls, "{caller} {outcome}");
        }
    }
}

#[tokio::test]
async fn every_series_exists_from_the_start() {
    let app = App::start().await;
    let before = series(&app).await;
    assert!(before.len() > 50, "{} series", before.len());
    app.cognito.inject_next("AdminGetUser", 1, Fault::AccessDenied);
    for sub in [ADA, ADA, "nobody", "nobody", GRACE] {
        drop(app.get_by_sub(sub).await);
    }
    assert_eq!(series(&app).await, before);
}

/// Returns the counts of the outcomes Absent, Fresh, Miss, Refreshing and Stale.
async fn lookups(app: &App) -> [f64; 5] {
    let mut counts = [0.0; 5];
    for (count, outcome) in counts.iter_mut().zip(["Absent", "Fresh", "Miss", "Refreshing", "Stale"]) {
        *count = metric(app, &format!("cache_lookups_total{{outcome=\"{outcome}\"}}")).await;
    }
    counts
}

/// Returns a series by its name without the prefix. Panics if it does not exist.
async fn metric(app: &App, series: &str) -> f64 {
    let (_, text) = http_get(app.admin, "/metrics").await;
    let value = text.lines().find_map(|line| {
        line.strip_prefix("cognito_lookup_")?.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()
    });
    value.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
}

async fn series(app: &App) -> Vec<String> {
    let (_, text) = http_get(app.admin, "/metrics").await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut series: Vec<_> = lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect();
    series.sort_unstable();
    series
}
