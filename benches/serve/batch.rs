//! `BatchGetUsers` compared with one `GetUser` for each user.

use cognito_lookup::proto::{BatchGetUsersResponse, batch_get_users_result::Result::Found};
use cognito_standin::{Pool, StandIn, User};
use prost::Message as _;

use crate::{
    Bench,
    call::{Call, FRAME_HEAD, decode, without_age},
    client::LoadClient,
    comparison::Comparison,
    h2load::H2load,
    load::Load,
    server::Server,
    settings::Settings,
    table::{Goal, Row, Table},
    target::Target,
};

/// Calls with the largest number of users that one call may name, each user a different one.
pub(crate) fn batch(bench: &Bench) -> Vec<Row> {
    let people = (0..USERS).map(person).collect::<Vec<_>>();
    let subs = people.iter().map(|person| person.sub.clone()).collect::<Vec<_>>();
    let cognito = StandIn::start(Pool { users: people, ..Pool::sandbox() }).unwrap();
    let server = Server::ours(&Settings::before(&cognito));
    let client = LoadClient::connect(server.address, 1, None);
    let (single, all) = (Call::by_sub(&subs[0]), Call::by_subs(&subs));
    // The first call fetches the users; the measured ones are cache hits.
    client.call(&all).unwrap();
    let target = |name, call, calls, users| Target {
        name,
        server: &server,
        load: Load::H2load(H2load::new(call, server.address)),
        calls,
        users,
        reply: client.call(call).unwrap().len(),
    };
    let calls = bench.effort.calls;
    let targets = [target("GetUser", &single, calls, 1), target("BatchGetUsers", &all, calls / 20, USERS)];
    let title = format!("BatchGetUsers of {USERS} users against GetUser by sub; an answer is a user's");
    let lookups = || cognito.calls("AdminGetUser") + cognito.calls("ListUsers");
    let compare = || compare(&client, &all, &subs);
    goals(
        &Comparison { title, targets, is_paced: false, lookups: &lookups, compare: &compare }
            .run(&bench.effort),
    )
}

fn goals(table: &Table) -> Vec<Row> {
    println!("{table}");
    let [rates, cpus, _] = &table.ratios;
    vec![
        Row::ratio(format!("BatchGetUsers of {USERS} to GetUser: users/s"), Goal::AtLeast(20.0), rates),
        Row::ratio(format!("BatchGetUsers of {USERS} to GetUser: CPU/user"), Goal::Unset, cpus),
    ]
}

/// Fails unless every result of the batch equals what `GetUser` returns for that user.
fn compare(client: &LoadClient, all: &Call, subs: &[String]) {
    let batch = client.call(all).unwrap();
    let results = BatchGetUsersResponse::decode(&batch[FRAME_HEAD..]).unwrap().results;
    assert_eq!(results.len(), subs.len());
    for (sub, found) in subs.iter().zip(results) {
        let Some(Found(found)) = found.result else { panic!("{found:?}") };
        assert_eq!(found.user.as_ref().unwrap().sub, *sub);
        assert_eq!(without_age(found), without_age(decode(&client.call(&Call::by_sub(sub)).unwrap())));
    }
}

/// A user with attributes as large as those of the stand-in's own users.
fn person(number: usize) -> User {
    let mut person = User::local(format!("user{number:02}"), "Secret-1");
    let attributes = [
        ("name", format!("Ada Lovelace {number:02}")),
        ("given_name", "Ada".to_owned()),
        ("family_name", "Lovelace".to_owned()),
        ("email", format!("ada{number:02}@example.com")),
        ("locale", "en-GB".to_owned()),
        ("custom:plan", "pro".to_owned()),
    ];
    person.attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    person
}

const USERS: usize = 100;
