//! Empties the caches of the replicas when the control port asks for it.

use cognito_standin::{Clearing, StandIn};
use tokio::sync::mpsc;
use tonic::{Request, transport::Channel};

use crate::proto::{EraseUserRequest, admin_service_client::AdminServiceClient};

/// What serves the requests, with an administrator's token.
#[derive(Debug)]
pub(super) struct CacheClearing<'a> {
    pub(super) standin: &'a StandIn,
    /// The URL of gRPC of each replica.
    pub(super) replicas: Vec<String>,
}

impl CacheClearing<'_> {
    /// Serves the requests; never ends, because the stand-in keeps their sender.
    pub(super) async fn run(&self, mut requests: mpsc::Receiver<Clearing>) {
        while let Some(clearing) = requests.recv().await {
            clearing.done(self.clear().await.map_err(|error| error.to_string()));
        }
        std::future::pending().await
    }

    /// Erases every user of the pool from every replica.
    async fn clear(&self) -> Result<(), Box<dyn std::error::Error>> {
        let client = self.standin.pool().machine_clients.first().ok_or("the pool has no machine client")?;
        let scopes: Vec<_> = client.scopes.iter().map(String::as_str).collect();
        let bearer = format!("Bearer {}", self.standin.machine_token(&client.id, &scopes));
        for replica in &self.replicas {
            let mut admin = AdminServiceClient::connect(replica.clone()).await?;
            for user in self.standin.users() {
                let request = EraseUserRequest { sub: user.sub, ..EraseUserRequest::default() };
                erase(&mut admin, request, &bearer).await?;
            }
        }
        Ok(())
    }
}

async fn erase(
    admin: &mut AdminServiceClient<Channel>,
    message: EraseUserRequest,
    bearer: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer.parse()?);
    admin.erase_user(request).await?;
    Ok(())
}
