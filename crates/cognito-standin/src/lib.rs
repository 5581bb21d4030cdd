#![doc = include_str!("../README.md")]

mod api_error;
mod apply_fault;
mod call;
mod claims;
mod clearings;
mod cloudtrail;
mod control;
mod directory;
mod event_control;
mod event_delivery;
mod events;
mod fault_plan;
mod faults;
mod filter;
mod http_control;
mod http_response;
mod json;
mod keys;
mod lock;
mod minting;
mod oauth;
mod operations;
mod page;
mod placement;
mod pool;
mod queue;
mod resettable;
mod router;
mod scenario;
mod server;
mod sessions;
mod sqs;
mod state;
mod sts;
mod tokens;
mod trail;
mod user;
mod users_file;

use std::{
    fmt, io, mem,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::net::TcpSocket;

pub use self::{
    clearings::Clearing,
    event_delivery::EventDelivery,
    faults::{Fault, Hold},
    http_response::HttpResponse,
    keys::{Keys, SigningKey},
    placement::{Placement, local_url},
    pool::{MachineClient, Pool, Role, SANDBOX_USERS},
    scenario::{Scenario, UnknownScenario},
    user::{Status, User},
    users_file::UsersFileError,
};
use self::{lock::lock, server::Server, state::State};

/// A running emulator. It serves from its own thread until it is stopped or dropped.
pub struct StandIn {
    address: SocketAddr,
    state: Arc<State>,
    phase: Mutex<Phase>,
}

impl StandIn {
    /// Serves `pool` on a free port of 127.0.0.1, with the keys that all stand-ins of this process
    /// share. Fails if the port cannot be bound, the thread cannot be started or the first keys
    /// cannot be generated.
    pub fn start(pool: Pool) -> io::Result<Self> {
        Self::start_at(pool, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// As [`start`](Self::start), at a given address. Fails also if that is not a loopback address.
    pub fn start_at(pool: Pool, address: SocketAddr) -> io::Result<Self> {
        Self::start_with_keys(pool, address, Keys::shared()?)
    }

    /// As [`start_at`](Self::start_at), with the given keys. Two pools that must reject each
    /// other's tokens need different ones.
    pub fn start_with_keys(pool: Pool, address: SocketAddr, keys: Keys) -> io::Result<Self> {
        Self::start_in(pool, &address.into(), keys)
    }

    /// As [`start_with_keys`](Self::start_with_keys), also at an address that other machines reach.
    pub fn start_in(pool: Pool, placement: &Placement, keys: Keys) -> io::Result<Self> {
        placement.check()?;
        let socket = server::reserve(placement.address)?;
        let address = socket.local_addr()?;
        let url = placement.url.clone();
        let state = Arc::new(State::new(pool, local_url(address), url, keys));
        let standin = Self { address, state, phase: Mutex::new(Phase::Stopped(socket)) };
        standin.resume()?;
        Ok(standin)
    }

    /// Closes the port and every connection. The address stays reserved, so connecting to it is
    /// refused.
    ///
    /// Users, keys, faults and counts survive until [`resume`](Self::resume). Stopping twice does
    /// nothing. Fails if the address cannot be reserved again; a later [`resume`](Self::resume)
    /// tries once more.
    pub fn stop(&self) -> io::Result<()> {
        let mut phase = lock(&self.phase);
        if !matches!(*phase, Phase::Stopped(_)) {
            // Drops the server, which frees the address.
            *phase = Phase::Unreserved;
            *phase = Phase::Stopped(server::reserve(self.address)?);
        }
        Ok(())
    }

    /// Serves again at the same address. Does nothing if it serves already. Fails if another
    /// process took the address meanwhile or the thread cannot be started.
    pub fn resume(&self) -> io::Result<()> {
        let mut phase = lock(&self.phase);
        let socket = match mem::replace(&mut *phase, Phase::Unreserved) {
            Phase::Stopped(socket) => socket,
            Phase::Unreserved => server::reserve(self.address)?,
            serving @ Phase::Serving(_) => {
                *phase = serving;
                return Ok(());
            }
        };
        *phase = Phase::Serving(Server::start(socket, router::router(Arc::clone(&self.state)))?);
        Ok(())
    }

    /// The address that it serves at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for an AWS SDK or the AWS CLI on this machine, such as `http://127.0.0.1:41234`.
    pub fn endpoint_url(&self) -> String {
        self.state.endpoint.clone()
    }

    /// The base URL for clients on other machines; that of [`Placement::url`] if there is one.
    pub fn public_url(&self) -> &str {
        &self.state.url
    }

    /// The URL of the token endpoint for client credentials.
    pub fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.endpoint_url())
    }

    /// The id of the pool.
    pub fn pool_id(&self) -> &str {
        &self.state.pool.id
    }

    /// The `iss` of its tokens: the public URL and the pool's id.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// The URL of its JWKS for clients on this machine.
    pub fn jwks_url(&self) -> String {
        format!("{}/{}/.well-known/jwks.json", self.state.endpoint, self.state.pool.id)
    }

    /// The pool as it was at the start. [`users`](Self::users) returns the current users.
    pub fn pool(&self) -> &Pool {
        &self.state.pool
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("issuer", &self.state.issuer).finish_non_exhaustive()
    }
}

enum Phase {
    Serving(#[expect(dead_code, reason = "it serves until it is dropped")] Server),
    Stopped(TcpSocket),
    Unreserved,
}

#[cfg(test)]
mod tests;
