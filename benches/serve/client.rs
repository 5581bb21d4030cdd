//! The bench's own load generator, for what h2load cannot do: mTLS, and a different request in each
//! call.

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
    call::Call,
    connection::{Connection, Error},
    outcome::{Outcome, STREAMS},
};

/// Open connections and the runtime that drives them, on the calling thread.
pub(crate) struct LoadClient {
    connections: Vec<Connection>,
    runtime: Runtime,
}

impl LoadClient {
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

    /// Makes one call over the first connection.
    pub(crate) fn call(&self, call: &Call) -> Result<Bytes, Error> {
        self.runtime.block_on(self.connections[0].call(call))
    }

    /// Returns once the server has answered a ping over each connection.
    pub(crate) fn ping(&mut self) {
        self.runtime.block_on(join_all(self.connections.iter_mut().map(Connection::ping)));
    }

    /// Makes `calls` calls, [`STREAMS`] at a time over each connection: as fast as replies come, or
    /// at `rate` calls per second. Panics unless every call succeeds.
    pub(crate) fn run(&self, calls: usize, rate: Option<f64>, call: &dyn Fn(usize) -> Call) -> Outcome {
        let latencies = RefCell::new(Vec::with_capacity(calls));
        let (next, bytes, begun) = (Cell::new(0), Cell::new(0), Instant::now());
        let stream = |connection| {
            let (next, bytes, latencies) = (&next, &bytes, &latencies);
            async move {
                while let Some(number) = Some(next.get()).filter(|number| *number < calls) {
                    next.set(number + 1);
                    let due = due(begun, number, rate).await;
                    let reply = Connection::call(connection, &call(number)).await.unwrap();
                    bytes.set(bytes.get() + reply.len());
                    latencies.borrow_mut().push(due.elapsed());
                }
            }
        };
        let streams = (0..STREAMS).flat_map(|_| self.connections.iter().map(stream));
        self.runtime.block_on(join_all(streams));
        let seconds = begun.elapsed().as_secs_f64();
        Outcome::new(calls as f64 / seconds, bytes.get(), latencies.into_inner())
    }
}

/// Waits until the call is due, and returns that time. A call that was sent late, because no stream
/// was free, counts its delay as latency. The timer has a tick of 1 ms.
async fn due(begun: Instant, number: usize, rate: Option<f64>) -> Instant {
    let Some(rate) = rate else { return Instant::now() };
    let due = begun + Duration::from_secs_f64(number as f64 / rate);
    sleep_until(due).await;
    due
}
