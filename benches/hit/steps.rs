//! The time of each step on the straight line from a call to its answer, and of the whole.

use std::{path::Path, time::Duration};

use cognito_lookup::{
    attribute::Selection,
    auth::{Authenticator, Caller, Credentials},
    freshness::Demand,
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
    parts::{Parts, neighbour, runtime},
    question::{Question, answered, warmed},
};

/// Measures all of them, or those that the arguments name.
pub(crate) fn measure() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    let parts = Parts::start(Path::new("/dev/null"), |_| {});
    let runtime = runtime();
    for question in Question::ALL {
        runtime.block_on(warmed(&parts.dispatcher, &question.request(&parts.cognito)));
    }
    let _there = runtime.enter();
    known(&mut criterion, &parts);
    first_sight(&mut criterion);
    lookup(&mut criterion, &parts);
    whole(&mut criterion, &parts);
    criterion.final_summary();
}

fn known(criterion: &mut Criterion, parts: &Parts) {
    let (authenticator, metadata) = (&*parts.service.authenticator, metadata(parts));
    criterion
        .bench_function("authenticate, known", |bencher| bencher.iter(|| caller(authenticator, &metadata)));
}

/// Where no verdict finds room every token is seen for the first time. Beside it what that cannot do without.
fn first_sight(criterion: &mut Criterion) {
    let parts = Parts::start(Path::new("/dev/null"), |config| config.cache.max_token_bytes = 0);
    let (authenticator, metadata) = (&*parts.service.authenticator, metadata(&parts));
    criterion.bench_function("authenticate, first sight", |bencher| {
        bencher.iter(|| caller(authenticator, &metadata));
    });
    let token = parts.cognito.access_token("ada").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let keys: JwkSet = serde_json::from_value(parts.cognito.jwks()).unwrap();
    let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
    criterion.bench_function("RS256 alone", |bencher| {
        bencher
            .iter(|| assert!(crypto::verify(signature, signed.as_bytes(), &key, Algorithm::RS256).unwrap()));
    });
}

fn lookup(criterion: &mut Criterion, parts: &Parts) {
    let (service, caller) = (&parts.service, caller(&parts.service.authenticator, &metadata(parts)));
    let query = Query {
        sub: None,
        pool: None,
        attributes: Selection::All,
        include_groups: false,
        demand: Demand::ANY,
    };
    let permit = |query| service.policy.permit(&caller, query).unwrap();
    criterion.bench_function("permit", |bencher| bencher.iter_batched(|| query.clone(), permit, SmallInput));
    let permit = permit(query.clone());
    criterion.bench_function("find, held", |bencher| bencher.iter(|| found(parts, &permit)));
    let found = found(parts, &permit);
    let disclose = || permit.disclose(found.user(), found.groups(), found.freshness()).unwrap();
    criterion.bench_function("disclose", |bencher| bencher.iter(disclose));
    let disclosure = disclose();
    criterion.bench_function("encode", |bencher| bencher.iter(|| wire::reply(&disclosure)));
}

fn whole(criterion: &mut Criterion, parts: &Parts) {
    for question in Question::ALL {
        let request = question.request(&parts.cognito);
        criterion.bench_function(&format!("GetUser, {}", question.name()), |bencher| {
            bencher.iter_batched(
                || request.clone(),
                |request| answered(&parts.dispatcher, request),
                SmallInput,
            );
        });
    }
}

fn metadata(parts: &Parts) -> MetadataMap {
    MetadataMap::from_headers(Question::ByToken.request(&parts.cognito).headers().clone())
}

fn caller(authenticator: &Authenticator, metadata: &MetadataMap) -> Caller {
    let credentials = Credentials { metadata, access_token: "", peer: &neighbour() };
    let caller = authenticator.authenticate(credentials).now_or_never();
    caller.expect("nothing is waited for").unwrap()
}

fn found(parts: &Parts, permit: &Permit) -> Found {
    let deadline = Instant::now() + Duration::from_secs(3);
    let found = parts.service.users.find(permit, deadline).now_or_never();
    found.expect("nothing is waited for").unwrap()
}
