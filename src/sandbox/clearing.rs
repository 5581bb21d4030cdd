//! Empties the caches of the replicas when the control port asks for it.

use std::{collections::BTreeSet, error::Error};

use cognito_standin::{Clearing, StandIn};
use tokio::sync::mpsc;
use tonic::{Request, metadata::MetadataValue};

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
            let result = self.clear(&clearing.subs).await;
            clearing.done(result.map_err(|error| error.to_string()));
        }
        std::future::pending().await
    }

    /// Erases these users from every replica.
    async fn clear(&self, subs: &BTreeSet<String>) -> Result<(), Box<dyn Error>> {
        let client = self.standin.pool().machine_clients.first().ok_or("the pool has no machine client")?;
        let bearer: MetadataValue<_> = format!("Bearer {}", self.standin.client_token(client)).parse()?;
        for replica in &self.replicas {
            let mut admin = AdminServiceClient::connect(replica.clone()).await?;
            for sub in subs {
                let message = EraseUserRequest { sub: sub.clone(), ..EraseUserRequest::default() };
                let mut request = Request::new(message);
                request.metadata_mut().insert("authorization", bearer.clone());
                admin.erase_user(request).await?;
            }
        }
        Ok(())
    }
}
