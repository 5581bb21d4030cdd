use std::time::Duration;

use cognito_lookup::proto::{
    EraseUserRequest, EraseUserResponse, ExpireUserRequest, GetUserRequest, GetUserResponse,
    InspectUserRequest, InspectUserResponse, RevokeTokensRequest, RevokeTokensResponse, SharedEntryState,
    admin_service_client::AdminServiceClient, user_service_client::UserServiceClient,
};
use rustls::ClientConfig;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::{IntoRequest, Status, transport::Channel};

use crate::support::{about, canary, connect, http_get, process::Process, tls_client, with_token};

/// A process of the service, and a client of it.
pub(crate) struct Replica {
    pub(crate) process: Process,
    pub(crate) channel: Channel,
    tls: Option<ClientConfig>,
}

async fn open(process: &Process, tls: Option<&ClientConfig>) -> Channel {
    let address = process.address.parse().unwrap();
    match tls {
        Some(tls) => tls_client::connect(address, tls.clone()).await.unwrap(),
        None => connect(address).await,
    }
}

impl Replica {
    /// Waits until the process is ready.
    pub(crate) async fn of(process: Process) -> Self {
        Self::with_tls(process, None).await
    }

    /// As [`of`](Self::of), and connects by TLS if it is set.
    pub(crate) async fn with_tls(process: Process, tls: Option<ClientConfig>) -> Self {
        let process = process.listening();
        let channel = open(&process, tls.as_ref()).await;
        let replica = Self { process, channel, tls };
        until("ready", async || replica.is_ready().await).await;
        replica
    }

    /// Opens another connection.
    pub(crate) async fn connect(&self) -> Channel {
        open(&self.process, self.tls.as_ref()).await
    }

    pub(crate) async fn is_ready(&self) -> bool {
        http_get(self.process.admin, "/readyz").await.0 == 200
    }

    pub(crate) async fn get(&self, sub: &str) -> Result<GetUserResponse, Status> {
        self.get_user(about(sub)).await
    }

    /// Reads the user of an access token.
    pub(crate) async fn get_by_token(&self, token: &str) -> Result<GetUserResponse, Status> {
        self.get_user(with_token(token, GetUserRequest::default())).await
    }

    pub(crate) async fn get_user(
        &self,
        request: impl IntoRequest<GetUserRequest>,
    ) -> Result<GetUserResponse, Status> {
        let answer = UserServiceClient::new(self.channel.clone()).get_user(request).await;
        answer.map(tonic::Response::into_inner).inspect_err(canary::status)
    }

    /// Returns the attribute `name` of a user.
    pub(crate) async fn name(&self, sub: &str) -> String {
        self.get(sub).await.unwrap().user.unwrap().attributes["name"].clone()
    }

    /// Returns whether every replica was told.
    pub(crate) async fn expire(&self, sub: &str) -> Result<bool, Status> {
        let request = ExpireUserRequest { sub: sub.into(), ..ExpireUserRequest::default() };
        self.admin().expire_user(request).await.map(|answer| answer.into_inner().reached_all_replicas)
    }

    /// Expires a user, again until all replicas were told: beside other tests, the store may answer
    /// after its time limit.
    pub(crate) async fn expire_everywhere(&self, sub: &str) {
        until("told", async || matches!(self.expire(sub).await, Ok(true))).await;
    }

    pub(crate) async fn erase(&self, sub: &str) -> Result<EraseUserResponse, Status> {
        let request = EraseUserRequest { sub: sub.into(), ..EraseUserRequest::default() };
        self.admin().erase_user(request).await.map(tonic::Response::into_inner)
    }

    /// Refuses the tokens of a user that were issued until now.
    pub(crate) async fn revoke(&self, sub: &str) -> Result<RevokeTokensResponse, Status> {
        let request = RevokeTokensRequest { sub: sub.into(), ..RevokeTokensRequest::default() };
        self.admin().revoke_tokens(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn inspect(&self, sub: &str) -> InspectUserResponse {
        let request = InspectUserRequest { sub: sub.into(), ..InspectUserRequest::default() };
        self.admin().inspect_user(request).await.unwrap().into_inner()
    }

    /// Returns what the store has of a user.
    pub(crate) async fn shared_state(&self, sub: &str) -> SharedEntryState {
        self.inspect(sub).await.shared_entry.unwrap().state()
    }

    /// Returns the sum of a metric of the shared cache over its series. Its name is without the usual
    /// beginning. With a label, such as `reason="Key"`, it is the sum of the series that have it.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        sum(&self.metrics().await, name, label)
    }

    pub(crate) async fn metrics(&self) -> String {
        http_get(self.process.admin, "/metrics").await.1
    }

    /// Returns whether the replica uses the store.
    pub(crate) async fn is_connected(&self) -> bool {
        self.metric("open", "").await == 0.0
    }

    /// Waits until it has logged why it cannot connect to the store, and returns that.
    pub(crate) fn fault(&self) -> String {
        let is_fault = |line: &&Value| line["message"] == CANNOT_CONNECT;
        let known = self.process.start.iter().find(is_fault).cloned();
        let line = known.unwrap_or_else(|| self.process.log_until(CANNOT_CONNECT).pop().unwrap());
        line["cause"].as_str().unwrap().to_owned()
    }

    /// Ends the process, and returns what it logged since it listened.
    pub(crate) fn stopped(self) -> Vec<Value> {
        drop(self.channel);
        self.process.signal("TERM");
        self.process.failed().1
    }

    fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }
}

fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let prefix = format!("cognito_lookup_shared_cache_{name}");
    let values = metrics.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(&prefix)?.rsplit_once(' ')?;
        // Another metric may begin with the same letters.
        let is_series = labels.is_empty() || labels.starts_with('{');
        (is_series && labels.contains(label)).then(|| value.parse::<f64>().unwrap())
    });
    values.sum()
}

/// Waits until something is so. Panics after a time that is long for a busy machine.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not {what} after {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(40);
const CANNOT_CONNECT: &str = "cannot connect to the shared cache; trying again";
