//! Two servers of the service that differ in one setting.

use cognito_lookup::proto::User;

use crate::{
    Bench, call::decode, client::LoadClient, comparison::Comparison, h2load::H2load, load::Load,
    server::Server, table::Table, target::Target,
};

/// Both servers with their names. The ratios are those of the second to the first.
pub(crate) struct AbComparison<'a> {
    pub(crate) title: String,
    pub(crate) servers: [(&'a str, &'a Server); 2],
    pub(crate) is_paced: bool,
}

impl AbComparison<'_> {
    /// Compares both with calls for one user, and prints the result.
    pub(crate) fn run(self, bench: &Bench) -> Table {
        let call = bench.ada();
        let client = self.servers.map(|(_, server)| LoadClient::connect(server.address, 1, None));
        // The first call of each is a cache miss.
        let replies = client.each_ref().map(|client| [(); 2].map(|()| client.call(&call).unwrap()));
        let [expected, reply] = [&replies[0], &replies[1]].map(|[_, hit]| hit);
        let compare = || {
            let found = client.each_ref().map(|client| user_of(&client.call(&call).unwrap()));
            assert_eq!(found, [user_of(expected), user_of(reply)]);
            assert_eq!(found[0], found[1]);
        };
        let targets = self.servers.map(|(name, server)| Target {
            name,
            server,
            load: Load::H2load(H2load::new(&call, server.address)),
            calls: bench.effort.calls,
            users: 1,
            reply: reply.len(),
        });
        let lookups = || bench.lookups();
        let comparison = Comparison {
            title: self.title,
            targets,
            is_paced: self.is_paced,
            lookups: &lookups,
            compare: &compare,
        };
        let table = comparison.run(&bench.effort);
        println!("{table}");
        table
    }
}

/// Returns the user without the freshness: the servers fetched it at different times.
fn user_of(reply: &[u8]) -> Option<User> {
    decode(reply).user
}
