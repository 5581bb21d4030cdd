use cognito_lookup::shared_cache::Call;

use super::{
    client::{Answer, Client, list},
    server::{Engine, Mode, Server, wait_for},
};

/// A cluster of three primaries, each with a replica.
pub(crate) struct Cluster {
    /// The primaries, then the replica of each.
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(engine: Engine) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(Server::start_with(engine, Mode::Node, "").await);
        }
        let cluster = Self { nodes };
        cluster.meet().await;
        for index in 0..PRIMARIES {
            cluster.replicate(index).await;
        }
        cluster
    }

    /// Makes the replica of a primary take its place, without asking the others.
    pub(crate) async fn fail_over(&self, primary: usize) {
        let mut replica = self.nodes[primary + PRIMARIES].client().await;
        replica.text("CLUSTER FAILOVER TAKEOVER").await;
        wait_for(&mut replica, "INFO replication", "role:master").await;
    }

    /// Runs a script at the node that has its slot.
    pub(crate) async fn call(&self, call: &Call) -> Answer {
        let answer = self.nodes[0].client().await.call(call).await;
        match answer {
            Err(moved) if moved.starts_with("MOVED ") => {
                let address = moved.rsplit(' ').next().unwrap().parse().unwrap();
                Client::tcp(address).await.unwrap().call(call).await
            }
            answer => answer,
        }
    }

    async fn meet(&self) {
        let mut first = self.nodes[0].client().await;
        for (index, node) in self.nodes.iter().enumerate() {
            let mut client = node.client().await;
            client.text(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
            if index < PRIMARIES {
                let [from, to] = [index, index + 1].map(|part| SLOTS * part / PRIMARIES);
                client.text(&format!("CLUSTER ADDSLOTSRANGE {from} {}", to - 1)).await;
            }
            let bus = list(client.command("CONFIG GET cluster-port").await.unwrap()).pop().unwrap();
            let (port, bus) = (node.address.port(), String::from_utf8(bus).unwrap());
            first.text(&format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await;
        }
        for node in &self.nodes {
            let mut client = node.client().await;
            wait_for(&mut client, "CLUSTER INFO", &format!("cluster_known_nodes:{}", self.nodes.len())).await;
            wait_for(&mut client, "CLUSTER INFO", "cluster_state:ok").await;
        }
    }

    async fn replicate(&self, primary: usize) {
        let id = self.nodes[primary].client().await.text("CLUSTER MYID").await;
        let mut replica = self.nodes[primary + PRIMARIES].client().await;
        replica.text(&format!("CLUSTER REPLICATE {id}")).await;
        wait_for(&mut replica, "INFO replication", "master_link_status:up").await;
    }
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
