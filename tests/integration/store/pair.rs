use super::{
    proxy::Proxy,
    server::{Engine, Server},
};

/// A primary and its replica, whose connection goes through a proxy.
pub(crate) struct Pair {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    pub(crate) between: Proxy,
}

impl Pair {
    pub(crate) async fn start(engine: Engine) -> Self {
        let primary = Server::start(engine).await;
        let between = Proxy::start(primary.address).await;
        let replica = Server::start(engine).await;
        replica.follow(between.address).await;
        Self { primary, replica, between }
    }

    /// Makes the replica a primary. What has not passed the proxy is lost.
    pub(crate) async fn promote(&self) {
        self.replica.client().await.text("REPLICAOF NO ONE").await;
    }
}
