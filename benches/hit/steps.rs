//! The time of each step of a call, and of the whole call.

use std::{path::Path, time::Duration};

use cognito_lookup::{
    attribute::Selection,
    auth::{Authenticator, Caller, Credentials},
    freshness::FreshnessRequirement,
    policy::Permit,
    query::Query,
    users::Found,
    wire,
};
use criterion::{BatchSize::SmallInput, Criterion};
use futures_util::FutureExt as _;
use jsonwebtoken::{Algorithm, DecodingKey, crypto, jwk::JwkSet};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use super::{
    call::{CallKind, answer, warm_up},
    components::{Components, local_peer, runtime},
};

/// Measures all steps, or those that the arguments name.
pub(crate) fn measure() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    let components = Components::start(Path::new("/dev/null"), |_| {});
    let runtime = runtime();
    for kind in CallKind::ALL {
        runtime.block_on(warm_up(&components, &kind.request(&components.cognito)));
    }
    let _context = runtime.enter();
    cached_token(&mut criterion, &components);
    new_token(&mut criterion);
    lookup(&mut criterion, &components);
    whole(&mut criterion, &components);
    criterion.final_summary();
}

fn cached_token(criterion: &mut Criterion, components: &Components) {
    let (authenticator, metadata) = (&*components.service.authenticator, metadata(components));
    criterion.bench_function("authenticate, cached token", |bencher| {
        bencher.iter(|| caller(authenticator, &metadata))
    });
}

/// Without a cache of verified tokens every token is new. Its signature alone is measured too.
fn new_token(criterion: &mut Criterion) {
    let components = Components::start(Path::new("/dev/null"), |config| config.cache.max_token_bytes = 0);
    let (authenticator, metadata) = (&*components.service.authenticator, metadata(&components));
    criterion.bench_function("authenticate, new token", |bencher| {
        bencher.iter(|| caller(authenticator, &metadata));
    });
    let token = components.cognito.access_token("ada").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let keys: JwkSet = serde_json::from_value(components.cognito.jwks()).unwrap();
    let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
    criterion.bench_function("RS256 alone", |bencher| {
        bencher
            .iter(|| assert!(crypto::verify(signature, signed.as_bytes(), &key, Algorithm::RS256).unwrap()));
    });
}

fn lookup(criterion: &mut Criterion, components: &Components) {
    let (service, caller) =
        (&components.service, caller(&components.service.authenticator, &metadata(components)));
    let query = Query {
        sub: None,
        pool: None,
        attributes: Selection::All,
        include_groups: false,
        freshness: FreshnessRequirement::Any,
    };
    let permit = |query| service.policy.rule(&caller).unwrap().permit(query).unwrap();
    criterion.bench_function("permit", |bencher| bencher.iter_batched(|| query.clone(), permit, SmallInput));
    let permit = permit(query.clone());
    criterion.bench_function("find, cached", |bencher| bencher.iter(|| found(components, &permit)));
    let found = found(components, &permit);
    let disclose = |found: Found| found.disclose(&permit).unwrap();
    criterion
        .bench_function("disclose", |bencher| bencher.iter_batched(|| found.clone(), disclose, SmallInput));
    let disclosure = disclose(found);
    criterion.bench_function("encode", |bencher| bencher.iter(|| wire::reply(&disclosure)));
}

fn whole(criterion: &mut Criterion, components: &Components) {
    for kind in CallKind::ALL {
        let request = kind.request(&components.cognito);
        criterion.bench_function(&format!("GetUser, {}", kind.name()), |bencher| {
            bencher.iter_batched(|| request.clone(), |request| answer(components, request), SmallInput);
        });
    }
}

fn metadata(components: &Components) -> MetadataMap {
    MetadataMap::from_headers(CallKind::ByToken.request(&components.cognito).headers().clone())
}

fn caller(authenticator: &Authenticator, metadata: &MetadataMap) -> Caller {
    let credentials = Credentials { metadata, access_token: "", peer: &local_peer() };
    let caller = authenticator.authenticate(credentials).now_or_never();
    caller.expect("a hit does not wait").unwrap()
}

fn found(components: &Components, permit: &Permit) -> Found {
    let deadline = Instant::now() + Duration::from_secs(3);
    let found = components.service.users.find(permit, deadline).now_or_never();
    found.expect("a hit does not wait").unwrap()
}
