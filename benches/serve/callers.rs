//! Callers of our own, for what h2load cannot ask: over mTLS, and something else in each call.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep_until},
};

use crate::{
    connection::{Connection, Error},
    load::{Outcome, STREAMS},
    question::Question,
};

/// Open connections, and who asks over them, all on the thread that runs them.
pub(crate) struct Callers {
    connections: Vec<Connection>,
    runtime: Runtime,
}

impl Callers {
    pub(crate) fn connect(address: SocketAddr, count: usize, tls: Option<&Arc<ClientConfig>>) -> Self {
        Self::try_connect(address, count, tls).unwrap()
    }

    pub(crate) fn try_connect(
        address: SocketAddr,
        count: usize,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(runtime.block_on(Connection::open(address, tls))?);
        }
        Ok(Self { connections, runtime })
    }

    /// Asks once.
    pub(crate) fn ask(&self, question: &Question) -> Result<Bytes, Error> {
        self.runtime.block_on(self.connections[0].ask(question))
    }

    /// Returns once the server has answered a ping over each connection.
    pub(crate) fn ping(&mut self) {
        self.runtime.block_on(join_all(self.connections.iter_mut().map(Connection::ping)));
    }

    /// Asks so many times, with [`STREAMS`] calls under way over each connection: as fast as the answers come, or at a
    /// rate of so many calls per second. Fails unless every call succeeds.
    pub(crate) fn run(
        &self,
        calls: usize,
        rate: Option<f64>,
        question: &dyn Fn(usize) -> Question,
    ) -> Outcome {
        let times = RefCell::new(Vec::with_capacity(calls));
        let (next, bytes, begun) = (Cell::new(0), Cell::new(0), Instant::now());
        let caller = |connection| {
            let (next, bytes, times) = (&next, &bytes, &times);
            async move {
                while let Some(call) = Some(next.get()).filter(|call| *call < calls) {
                    next.set(call + 1);
                    let due = due(begun, call, rate).await;
                    let reply = Connection::ask(connection, &question(call)).await.unwrap();
                    bytes.set(bytes.get() + reply.len());
                    times.borrow_mut().push(due.elapsed());
                }
            }
        };
        let callers = (0..STREAMS).flat_map(|_| self.connections.iter().map(caller));
        self.runtime.block_on(join_all(callers));
        let seconds = begun.elapsed().as_secs_f64();
        Outcome::of(calls as f64 / seconds, bytes.get(), times.into_inner())
    }
}

/// Waits until the call is due, and returns when that was: a call that had to wait for a free caller waited too. The
/// timer has a tick of 1 ms.
async fn due(begun: Instant, call: usize, rate: Option<f64>) -> Instant {
    let Some(rate) = rate else { return Instant::now() };
    let due = begun + Duration::from_secs_f64(call as f64 / rate);
    sleep_until(due).await;
    due
}
