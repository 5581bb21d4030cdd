//! `GetUser` from the cache, against a stock tonic server that gives the same reply.

use cognito_lookup::proto::Source;
use cognito_standin::SigningKey;

use crate::{
    Bench,
    callers::Callers,
    certificates::Certificates,
    contest::Contest,
    h2load::H2load,
    load::{CONNECTIONS, Load},
    question::{FRAME, Question, ageless, user},
    server::Server,
    settings::Settings,
    side::Side,
    table::{Goal, Row, Table},
};

/// By whoever presents the user's token.
pub(crate) fn by_token(bench: &Bench) -> Vec<Row> {
    let token = bench.cognito.access_token("ada").unwrap();
    rows(bench, "GetUser by token", &Question::by_token(&token), None)
}

/// By whoever presents a token with the claims that must be there and no others.
pub(crate) fn by_short_token(bench: &Bench) -> Vec<Row> {
    let mut claims = bench.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().retain(|name, _| NEEDED.contains(&name.as_str()));
    let token = bench.cognito.sign(SigningKey::Access, &bench.cognito.header(SigningKey::Access), &claims);
    assert!((690..710).contains(&token.len()), "{}", token.len());
    rows(bench, "GetUser by token of 700 bytes", &Question::by_token(&token), None)
}

/// By whoever calls from this machine.
pub(crate) fn by_sub(bench: &Bench) -> Vec<Row> {
    rows(bench, "GetUser by sub", &bench.ada(), None)
}

/// By whoever presents a certificate.
pub(crate) fn by_certificate(bench: &Bench) -> Vec<Row> {
    rows(bench, "GetUser by sub over mTLS", &bench.ada(), Some(&Certificates::new()))
}

fn rows(bench: &Bench, name: &str, question: &Question, certificates: Option<&Certificates>) -> Vec<Row> {
    let folder = certificates.map(Certificates::folder);
    let certified = folder.map(Into::into);
    let ours = Server::ours(&Settings { certificates: certified, ..Settings::before(&bench.cognito) });
    let caller = connect(&ours, 1, certificates);
    caller.ask(question).unwrap();
    let reply = caller.ask(question).unwrap();
    assert_eq!(user(&reply).freshness.unwrap().source(), Source::Cache);
    let stock = Server::stock(&reply[FRAME..], folder);
    let other = connect(&stock, 1, certificates);
    if let Some(certificates) = certificates {
        [&ours, &stock].into_iter().for_each(|server| assert_closed(server, certificates, question));
    }
    let compare = || {
        for caller in [&caller, &other] {
            assert_eq!(ageless(user(&caller.ask(question).unwrap())), ageless(user(&reply)));
        }
    };
    let sides = [("stock tonic", &stock), ("cognito-lookup", &ours)].map(|(name, server)| Side {
        name,
        server,
        load: load(server, question, certificates),
        calls: bench.effort.calls,
        users: 1,
        reply: reply.len(),
    });
    let title = format!("{name}: {}, reply of {}", question.described(), reply.len() - FRAME);
    let lookups = || bench.lookups();
    let contest = Contest { title, sides, is_paced: true, lookups: &lookups, compare: &compare };
    goals(name, &contest.held(&bench.effort))
}

fn goals(name: &str, table: &Table) -> Vec<Row> {
    println!("{table}");
    let [rates, cpus, p99s] = &table.ratios;
    vec![
        Row::ratio(format!("{name}: requests/s"), Goal::AtLeast(1.1), rates),
        Row::ratio(format!("{name}: CPU/request"), Goal::AtMost(0.8), cpus),
        Row::ratio(format!("{name}: p99"), Goal::AtMost(1.0), p99s),
    ]
}

/// h2load has no certificates.
fn load<'a>(server: &Server, question: &'a Question, certificates: Option<&Certificates>) -> Load<'a> {
    match certificates {
        None => Load::H2load(H2load::of(question, server.address)),
        Some(_) => Load::Own(connect(server, CONNECTIONS, certificates), Box::new(move |_| question.clone())),
    }
}

fn connect(server: &Server, count: usize, certificates: Option<&Certificates>) -> Callers {
    Callers::connect(server.address, count, certificates.map(Certificates::client))
}

/// Fails if it answers who has no certificate.
fn assert_closed(server: &Server, certificates: &Certificates, question: &Question) {
    let stranger = Callers::try_connect(server.address, 1, Some(certificates.stranger()));
    let answer = stranger.and_then(|stranger| stranger.ask(question));
    assert!(answer.is_err(), "a certificate is required");
}

const NEEDED: [&str; 6] = ["sub", "iss", "client_id", "token_use", "exp", "username"];
