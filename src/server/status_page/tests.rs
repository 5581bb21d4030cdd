use std::sync::Arc;

use super::*;
use crate::{
    pool::{BareSubLookup, Pools},
    server::readiness::{Readiness, Requirement},
    telemetry::metrics::{JwksFetchOutcome, Metrics, callers::CallerOutcome},
};

#[test]
fn the_page_says_what_is_missing_and_escapes_names() {
    let pool = Arc::new(crate::users::test_pool(BareSubLookup::AdminGetUser));
    let (ready, _readiness) = Readiness::channel(&Pools::of([pool.clone()]), false);
    let metrics = Metrics::new();
    metrics.callers.set_names(["<script>web"].into_iter());
    let counters = metrics.callers.for_thread();
    counters.count(Some("<script>web"), CallerOutcome::Answered, 3);
    let jwks = metrics.tokens.jwks(pool.id.as_str());
    jwks.set_keys(2);
    jwks.fetch_ended(JwksFetchOutcome::Ok);
    jwks.fetch_ended(JwksFetchOutcome::Timeout);
    let now = SystemTime::now() + Duration::from_secs(90);
    let page = |state: &ReadyState| render(&metrics.samples(), state, now);

    let before = page(&ready.borrow());
    for expected in [
        ">not ready</p>",
        "<td>its signing keys were not fetched yet, no AWS credentials for it were found yet</td>",
        "<td>&lt;script&gt;web</td><td>1</td><td>3</td><td>0</td>",
        "<td>2</td><td>1m 30s ago</td><td>1</td>",
        "<td>shared_cache</td><td>not configured</td>",
        "<td>events.queue_url</td><td>not configured</td>",
        "<td>tls.certificate</td><td>not configured</td>",
    ] {
        assert!(before.contains(expected), "{expected} is not in\n{before}");
    }
    assert!(!before.contains("<script"));

    ready.send_modify(|state| {
        state.catch_up();
        Requirement::ALL.iter().for_each(|requirement| _ = state.meet(&pool.id, *requirement));
    });
    let after = page(&ready.borrow());
    assert!(after.contains(">ready</p>") && !after.contains("not fetched yet"), "{after}");
}

#[test]
fn an_end_is_a_date_with_the_days_left() {
    let samples = Samples::default();
    let now = at(1_795_614_746.0);
    let view = View { samples: &samples, now };
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(view.until(now + 3 * day), "2026-11-28T13:52:26Z, in 3 days");
    assert_eq!(view.until(now - day), "2026-11-24T13:52:26Z, EXPIRED");
}
