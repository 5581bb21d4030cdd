use std::net::SocketAddr;

use super::{
    client::list,
    server::{Engine, Mode, Server, wait_for},
};

/// A primary, its replica, and a sentinel that watches both under the name `main`.
pub(crate) struct Sentinel {
    pub(crate) sentinel: Server,
    pub(crate) servers: [Server; 2],
}

impl Sentinel {
    pub(crate) async fn start(engine: Engine) -> Self {
        let servers = [Server::start(engine).await, Server::start(engine).await];
        servers[1].follow(servers[0].address).await;
        let settings = format!(
            "sentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 1000\n\
             sentinel failover-timeout main 5000\n",
            servers[0].address.port()
        );
        let sentinel = Server::start_with(engine, Mode::Sentinel, &settings).await;
        wait_for(&mut sentinel.client().await, "INFO sentinel", "status=ok,address=127.0.0.1").await;
        wait_for(&mut sentinel.client().await, "INFO sentinel", "slaves=1").await;
        Self { sentinel, servers }
    }

    /// Returns the address of the primary as the sentinel knows it.
    pub(crate) async fn primary(&self) -> SocketAddr {
        let command = "SENTINEL GET-MASTER-ADDR-BY-NAME main";
        let parts = list(self.sentinel.client().await.command(command).await.unwrap());
        let [ip, port] = &parts[..] else { panic!("no primary is known: {parts:?}") };
        let text = format!("{}:{}", String::from_utf8_lossy(ip), String::from_utf8_lossy(port));
        text.parse().unwrap()
    }

    /// Makes the replica the primary, and waits until the sentinel says so.
    pub(crate) async fn fail_over(&self) {
        let before = self.primary().await;
        let mut client = self.sentinel.client().await;
        // It refuses until it has heard from the replica.
        wait_for(&mut client, "SENTINEL FAILOVER main", "OK").await;
        let after = self.servers.iter().find(|server| server.address != before).unwrap();
        let wanted = format!("address={}", after.address);
        wait_for(&mut client, "INFO sentinel", &wanted).await;
        wait_for(&mut after.client().await, "INFO replication", "role:master").await;
    }
}
