//! `GetUser` from the cache, compared with a peer that returns the same user.

use std::path::PathBuf;

use cognito_lookup::proto::Source;
use cognito_standin::SigningKey;

use crate::{
    Bench,
    call::{Call, FRAME_HEAD, decode, without_age},
    certificates::Certificates,
    client::LoadClient,
    comparison::Comparison,
    h2load::H2load,
    load::Load,
    outcome::CONNECTIONS,
    peer::{Naive, NoOp, Peer},
    server::Server,
    settings::{APP_CLIENT, ATTRIBUTES, Settings},
    table::{Goal, Row, Table},
    target::Target,
};

/// By the user's access token, as Cognito issues it.
pub(crate) fn by_token(bench: &Bench) -> Vec<Row> {
    let call = Call::by_token(&bench.cognito.access_token("ada").unwrap());
    Hits { name: "GetUser by token", call, certificates: None, goals: Goals::TOKEN }.rows(bench)
}

/// By an access token with the required claims only.
pub(crate) fn by_short_token(bench: &Bench) -> Vec<Row> {
    let name = "GetUser by token of 700 bytes";
    Hits { name, call: short_token(bench), certificates: None, goals: Goals::TOKEN }.rows(bench)
}

/// By `sub`, from a network that may read every user.
pub(crate) fn by_sub(bench: &Bench) -> Vec<Row> {
    Hits { name: "GetUser by sub", call: bench.ada(), certificates: None, goals: Goals::SUB }.rows(bench)
}

/// By `sub`, over mTLS.
pub(crate) fn by_certificate(bench: &Bench) -> Vec<Row> {
    let certificates = Some(Certificates::new());
    Hits { name: "GetUser by sub over mTLS", call: bench.ada(), certificates, goals: Goals::MTLS }.rows(bench)
}

/// By the user's access token, compared with the naive peer.
pub(crate) fn by_token_naive(bench: &Bench) -> Vec<Row> {
    let (name, goals) = ("GetUser by token, naive peer", Goals::NAIVE);
    let call = Call::by_token(&bench.cognito.access_token("ada").unwrap());
    Hits { name, call, certificates: None, goals }.rows_of(bench, "naive", |_| naive(bench))
}

/// By an access token with the required claims only, compared with the naive peer.
pub(crate) fn by_short_token_naive(bench: &Bench) -> Vec<Row> {
    let (name, goals) = ("GetUser by token of 700 bytes, naive peer", Goals::NAIVE);
    let hits = Hits { name, call: short_token(bench), certificates: None, goals };
    hits.rows_of(bench, "naive", |_| naive(bench))
}

/// One call, the same for the service and the peer.
struct Hits {
    name: &'static str,
    call: Call,
    certificates: Option<Certificates>,
    goals: Goals,
}

struct Goals {
    rate: f64,
    cpu: f64,
}

impl Goals {
    const TOKEN: Self = Self { rate: 1.1, cpu: 0.84 };
    const SUB: Self = Self { rate: 1.3, cpu: 0.72 };
    const MTLS: Self = Self { rate: 1.1, cpu: 0.8 };
    const NAIVE: Self = Self { rate: 2.5, cpu: 0.35 };
}

impl Hits {
    /// Compares the service with tonic alone.
    fn rows(&self, bench: &Bench) -> Vec<Row> {
        let certificates = self.folder();
        self.rows_of(bench, "no-op tonic", |reply| {
            Peer::NoOp(NoOp { reply: reply[FRAME_HEAD..].to_vec(), certificates })
        })
    }

    /// Compares the service with a peer, which is made from the service's reply.
    fn rows_of(&self, bench: &Bench, name: &str, peer: impl FnOnce(&[u8]) -> Peer) -> Vec<Row> {
        let settings = Settings { certificates: self.folder(), ..Settings::before(&bench.cognito) };
        let ours = Server::ours(&settings);
        let client = self.connect(&ours, 1);
        let [_, reply] = [(); 2].map(|()| client.call(&self.call).unwrap());
        assert_eq!(decode(&reply).freshness.unwrap().source(), Source::Cache);
        let theirs = Server::peer(&peer(&reply));
        let other = self.connect(&theirs, 1);
        let [_, their_reply] = [(); 2].map(|()| other.call(&self.call).unwrap());
        [&ours, &theirs].into_iter().for_each(|server| self.assert_closed(server));
        let compare = || {
            let [found, their_found] =
                [&client, &other].map(|client| decode(&client.call(&self.call).unwrap()));
            assert_eq!(their_found.user, found.user);
            assert_eq!(without_age(found), without_age(decode(&reply)));
        };
        let targets = [(name, &theirs, &their_reply), ("cognito-lookup", &ours, &reply)];
        let targets = targets.map(|(name, server, reply)| Target {
            name,
            server,
            load: self.load(server),
            calls: bench.effort.calls,
            users: 1,
            reply: reply.len(),
        });
        let title = format!("{}: {}, reply of {}", self.name, self.call.describe(), reply.len() - FRAME_HEAD);
        let lookups = || bench.lookups();
        let comparison = Comparison { title, targets, is_paced: true, lookups: &lookups, compare: &compare };
        self.rows_from(&comparison.run(&bench.effort))
    }

    fn rows_from(&self, table: &Table) -> Vec<Row> {
        println!("{table}");
        let Self { name, goals, .. } = self;
        let [rates, cpus, p99s] = &table.ratios;
        vec![
            Row::ratio(format!("{name}: requests/s"), Goal::AtLeast(goals.rate), rates),
            Row::ratio(format!("{name}: CPU/request"), Goal::AtMost(goals.cpu), cpus),
            Row::ratio(format!("{name}: p99"), Goal::AtMost(1.0), p99s),
        ]
    }

    /// h2load cannot present a certificate.
    fn load(&self, server: &Server) -> Load<'_> {
        match &self.certificates {
            None => Load::H2load(H2load::new(&self.call, server.address)),
            Some(_) => Load::Own(self.connect(server, CONNECTIONS), Box::new(|_| self.call.clone())),
        }
    }

    fn connect(&self, server: &Server, count: usize) -> LoadClient {
        LoadClient::connect(server.address, count, self.certificates.as_ref().map(Certificates::client))
    }

    fn folder(&self) -> Option<PathBuf> {
        self.certificates.as_ref().map(|certificates| certificates.folder().into())
    }

    /// Panics if a server that requires certificates serves a client that has none.
    fn assert_closed(&self, server: &Server) {
        let Some(certificates) = &self.certificates else { return };
        let stranger = LoadClient::try_connect(server.address, 1, Some(certificates.stranger()));
        let reply = stranger.and_then(|stranger| stranger.call(&self.call));
        assert!(reply.is_err(), "a certificate is required");
    }
}

fn short_token(bench: &Bench) -> Call {
    let mut claims = bench.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().retain(|name, _| REQUIRED.contains(&name.as_str()));
    let token = bench.cognito.sign(SigningKey::Access, &bench.cognito.header(SigningKey::Access), &claims);
    assert!((690..710).contains(&token.len()), "{}", token.len());
    Call::by_token(&token)
}

fn naive(bench: &Bench) -> Peer {
    Peer::Naive(Naive {
        pool_id: bench.cognito.pool_id().to_owned(),
        issuer: bench.cognito.issuer().to_owned(),
        app_client: APP_CLIENT.to_owned(),
        endpoint_url: bench.cognito.endpoint_url(),
        jwks: serde_json::from_value(bench.cognito.jwks()).unwrap(),
        attributes: ATTRIBUTES.map(str::to_owned).to_vec(),
    })
}

const REQUIRED: [&str; 6] = ["sub", "iss", "client_id", "token_use", "exp", "username"];
