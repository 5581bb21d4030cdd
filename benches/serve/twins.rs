//! Two servers of ours that differ in one thing.

use cognito_lookup::proto::User;

use crate::{
    Bench,
    callers::Callers,
    contest::Contest,
    h2load::H2load,
    load::Load,
    question::{ageless, user},
    server::Server,
    side::Side,
    table::Table,
};

/// Both, by name; the second is measured by the first.
pub(crate) struct Twins<'a> {
    pub(crate) title: String,
    pub(crate) servers: [(&'a str, &'a Server); 2],
    pub(crate) is_paced: bool,
}

impl Twins<'_> {
    /// Asks both about one user, and shows what came of it.
    pub(crate) fn held(self, bench: &Bench) -> Table {
        let question = bench.ada();
        let callers = self.servers.map(|(_, server)| Callers::connect(server.address, 1, None));
        // Asked first, it is not yet a hit.
        let replies = callers.each_ref().map(|caller| [(); 2].map(|()| caller.ask(&question).unwrap()));
        let [expected, reply] = [&replies[0], &replies[1]].map(|[_, hit]| hit);
        let compare = || {
            let found = callers.each_ref().map(|caller| unfetched(&caller.ask(&question).unwrap()));
            assert_eq!(found, [unfetched(expected), unfetched(reply)]);
            assert_eq!(found[0], found[1]);
        };
        let sides = self.servers.map(|(name, server)| Side {
            name,
            server,
            load: Load::H2load(H2load::of(&question, server.address)),
            calls: bench.effort.calls,
            users: 1,
            reply: reply.len(),
        });
        let lookups = || bench.lookups();
        let contest = Contest {
            title: self.title,
            sides,
            is_paced: self.is_paced,
            lookups: &lookups,
            compare: &compare,
        };
        let table = contest.held(&bench.effort);
        println!("{table}");
        table
    }
}

/// The user alone: each of the two has fetched it at a time of its own.
fn unfetched(reply: &[u8]) -> Option<User> {
    ageless(user(reply)).user
}
