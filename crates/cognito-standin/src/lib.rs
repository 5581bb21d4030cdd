//! A Cognito user pool on loopback: the AWS JSON protocol, the JWKS and OAuth's client-credentials call.
//!
//! The `sandbox` command shows it to people; the tests fault_plan it: see [`StandIn::inject`], [`StandIn::hold`] and
//! [`StandIn::wait_for_calls`]. It checks no signatures of requests and keeps everything in memory.

mod resettable;
mod claims;
mod control;
mod directory;
mod api_error;
mod faults;
mod filter;
mod keys;
mod oauth;
mod operations;
mod page;
mod users_file;
mod user;
mod pool;
mod http_response;
mod sandbox_users;
mod router;
mod fault_plan;
mod server;
mod state;
mod sts;
mod tokens;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::net::TcpSocket;

pub use self::{
    faults::{Fault, Hold},
    http_response::HttpResponse,
    keys::{Keys, SigningKey},
    pool::{MachineClient, Pool, Role},
    user::{Status, User},
    users_file::UsersFileError,
};
use self::{
    server::Server,
    state::{State, lock},
};

/// A running stand-in. It serves from a thread of its own until it is stopped or dropped.
pub struct StandIn {
    address: SocketAddr,
    state: Arc<State>,
    phase: Mutex<Phase>,
}

impl StandIn {
    /// Serves `pool` on a free port of 127.0.0.1, with the keys that all stand-ins of this process share. Fails when
    /// the port cannot be bound, the thread cannot be started or the first keys cannot be made.
    pub fn start(pool: Pool) -> io::Result<Self> {
        Self::start_at(pool, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// As [`start`](Self::start), at a given address; fails also when that is not a loopback one.
    pub fn start_at(pool: Pool, address: SocketAddr) -> io::Result<Self> {
        Self::start_with_keys(pool, address, Keys::shared()?)
    }

    /// As [`start_at`](Self::start_at), with keys of its own: needed by two pools that must not accept each other's tokens.
    pub fn start_with_keys(pool: Pool, address: SocketAddr, keys: Keys) -> io::Result<Self> {
        let socket = server::reserve(address)?;
        let address = socket.local_addr()?;
        let state = Arc::new(State::new(pool, &format!("http://{address}"), keys));
        let server = Server::start(socket, router::router(Arc::clone(&state)))?;
        let phase = Mutex::new(Phase::Serving(server));
        Ok(Self { address, state, phase })
    }

    /// Closes the port and every connection. The address stays reserved, so connecting to it is refused.
    ///
    /// People, keys, faults and counts survive until [`resume`](Self::resume). Stopping twice does nothing. Fails when
    /// the address cannot be reserved again; a later [`resume`](Self::resume) tries anew.
    pub fn stop(&self) -> io::Result<()> {
        let mut phase = lock(&self.phase);
        *phase = match std::mem::replace(&mut *phase, Phase::Down) {
            Phase::Stopped(socket) => Phase::Stopped(socket),
            Phase::Down => Phase::Stopped(server::reserve(self.address)?),
            Phase::Serving(server) => {
                drop(server);
                Phase::Stopped(server::reserve(self.address)?)
            }
        };
        Ok(())
    }

    /// Serves again at the same address. Resuming one that serves already does nothing. Fails when the address was
    /// taken meanwhile or the thread cannot be started.
    pub fn resume(&self) -> io::Result<()> {
        let mut phase = lock(&self.phase);
        *phase = match std::mem::replace(&mut *phase, Phase::Down) {
            Phase::Serving(server) => Phase::Serving(server),
            Phase::Stopped(socket) => Phase::Serving(self.serve(socket)?),
            Phase::Down => Phase::Serving(self.serve(server::reserve(self.address)?)?),
        };
        Ok(())
    }

    /// The loopback address it serves at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for an AWS SDK or the AWS CLI, such as `http://127.0.0.1:41234`.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The URL of the client-credentials call.
    pub fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.endpoint_url())
    }

    /// The id of the pool.
    pub fn pool_id(&self) -> &str {
        &self.state.pool.id
    }

    /// The `iss` of its tokens: the endpoint's URL and the pool's id.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// Where its JWKS is.
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.state.issuer)
    }

    /// The pool as it was given: the app clients are current, the people are those at the start.
    pub fn pool(&self) -> &Pool {
        &self.state.pool
    }

    fn serve(&self, socket: TcpSocket) -> io::Result<Server> {
        Server::start(socket, router::router(Arc::clone(&self.state)))
    }
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn").field("issuer", &self.state.issuer).finish_non_exhaustive()
    }
}

enum Phase {
    Serving(Server),
    Stopped(TcpSocket),
    Down,
}

#[cfg(test)]
mod tests;
