//! `BatchGetUsers` against one `GetUser` for each user.

use cognito_lookup::proto::{BatchGetUsersResponse, batch_get_users_result::Result::Found};
use cognito_standin::{Pool, StandIn, User};
use prost::Message as _;

use crate::{
    Bench,
    callers::Callers,
    contest::Contest,
    h2load::H2load,
    load::Load,
    question::{FRAME, Question, ageless, user},
    server::Server,
    settings::Settings,
    side::Side,
    table::{Goal, Row, Table},
};

/// As many different users as a call may name.
pub(crate) fn batch(bench: &Bench) -> Vec<Row> {
    let people = (0..USERS).map(person).collect::<Vec<_>>();
    let subs = people.iter().map(|person| person.sub.clone()).collect::<Vec<_>>();
    let cognito = StandIn::start(Pool { users: people, ..Pool::sandbox() }).unwrap();
    let server = Server::ours(&Settings::before(&cognito));
    let caller = Callers::connect(server.address, 1, None);
    let (single, all) = (Question::by_sub(&subs[0]), Question::by_subs(&subs));
    // The first time they are fetched.
    caller.ask(&all).unwrap();
    let side = |name, question, calls, users| Side {
        name,
        server: &server,
        load: Load::H2load(H2load::of(question, server.address)),
        calls,
        users,
        reply: caller.ask(question).unwrap().len(),
    };
    let calls = bench.effort.calls;
    let sides = [side("GetUser", &single, calls, 1), side("BatchGetUsers", &all, calls / 20, USERS)];
    let title = format!("BatchGetUsers of {USERS} users against GetUser by sub; an answer is a user's");
    let lookups = || cognito.calls("AdminGetUser") + cognito.calls("ListUsers");
    let compare = || compare(&caller, &all, &subs);
    goals(
        &Contest { title, sides, is_paced: false, lookups: &lookups, compare: &compare }.held(&bench.effort),
    )
}

fn goals(table: &Table) -> Vec<Row> {
    println!("{table}");
    let [rates, cpus, _] = &table.ratios;
    vec![
        Row::ratio(format!("BatchGetUsers of {USERS} to GetUser: users/s"), Goal::AtLeast(20.0), rates),
        Row::ratio(format!("BatchGetUsers of {USERS} to GetUser: CPU/user"), Goal::Told, cpus),
    ]
}

/// Fails unless each of all is the one that is got alone.
fn compare(caller: &Callers, all: &Question, subs: &[String]) {
    let batch = caller.ask(all).unwrap();
    let results = BatchGetUsersResponse::decode(&batch[FRAME..]).unwrap().results;
    assert_eq!(results.len(), subs.len());
    for (sub, found) in subs.iter().zip(results) {
        let Some(Found(found)) = found.result else { panic!("{found:?}") };
        assert_eq!(found.user.as_ref().unwrap().sub, *sub);
        assert_eq!(ageless(found), ageless(user(&caller.ask(&Question::by_sub(sub)).unwrap())));
    }
}

/// As large as the stand-in's own.
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
