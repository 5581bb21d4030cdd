use std::{cell::Cell, fs, path::PathBuf};

use cognito_lookup::shared_cache::Call;
use tempfile::TempDir;

use super::{
    client::{Answer, Client, list},
    server::{Engine, Mode, Server, free_address, wait_for},
};
use crate::support::certificates::Authority;

/// A cluster of three primaries, each with a replica.
pub(crate) struct Cluster {
    /// The primaries, then the replica of each.
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::start_with(engine, String::new).await
    }

    /// Starts a cluster with further lines in the configuration file of each node.
    pub(crate) async fn start_with(engine: Engine, settings: impl Fn() -> String) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(Server::start_with(engine, Mode::Node, &settings()).await);
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

/// A cluster of Redis that requires TLS, and certificates of its clients.
pub(crate) struct SecuredCluster {
    cluster: Cluster,
    folder: TempDir,
    /// The TLS port of the first node.
    pub(crate) seed: u16,
}

impl SecuredCluster {
    pub(crate) async fn start() -> Self {
        let (folder, ours) = (TempDir::new().unwrap(), Authority::new("ours"));
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        for (name, identity) in [("server", ours.server()), ("client", ours.client("node"))] {
            write(&format!("{name}.pem"), &identity.certificate);
            write(&format!("{name}.key"), &identity.key);
        }
        write("ca.pem", &ours.pem);
        let seed = Cell::new(0);
        let settings = || {
            let (port, folder) = (free_address().port(), folder.path().display());
            seed.set(if seed.get() == 0 { port } else { seed.get() });
            format!(
                "tls-port {port}\ntls-cluster yes\ntls-replication yes\ntls-ca-cert-file {folder}/ca.pem\n\
                 tls-cert-file {folder}/server.pem\ntls-key-file {folder}/server.key\n\
                 tls-client-cert-file {folder}/client.pem\ntls-client-key-file {folder}/client.key\n\
                 cluster-announce-hostname localhost\ncluster-preferred-endpoint-type hostname\n"
            )
        };
        let cluster = Cluster::start_with(Engine::Redis, settings).await;
        Self { cluster, folder, seed: seed.get() }
    }

    /// Sends a command to all nodes.
    pub(crate) async fn command(&self, line: &str) -> Vec<String> {
        let mut answers = Vec::new();
        for node in &self.cluster.nodes {
            answers.push(node.client().await.text(line).await);
        }
        answers
    }

    /// Closes the connections of a user.
    pub(crate) async fn close_clients(&self, user: &str) {
        for node in &self.cluster.nodes {
            node.client().await.command(&format!("CLIENT KILL USER {user}")).await.unwrap();
        }
    }

    /// Returns the path of `ca.pem`, or of `client.pem` beside its key.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
