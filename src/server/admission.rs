//! Limits how many connections are open, in total and from each peer, and their memory.

mod fd_limit;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

pub(super) use self::fd_limit::TooFewFiles;
use crate::{
    auth::Address,
    config::LimitSettings,
    memory::{ConnectionMemory, Exhausted, MemoryLimit},
    telemetry::metrics::ConnectionLimit,
};

/// Counts the open connections and refuses those beyond a limit.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    max_connections: usize,
    max_per_peer: usize,
    memory: MemoryLimit,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_peer: HashMap<IpAddr, usize>,
}

impl ConnectionLimiter {
    /// Limits connections to what the settings, the memory and the open files allow. Fails if the
    /// process may open too few files to serve.
    pub(super) fn new(
        limits: &LimitSettings,
        threads: usize,
        memory: MemoryLimit,
    ) -> Result<Self, TooFewFiles> {
        let max_connections = fd_limit::max_connections(limits.connections, threads)?;
        Ok(Self {
            max_connections,
            max_per_peer: limits.connections_per_peer,
            memory,
            counts: Arc::default(),
        })
    }

    /// Counts a connection from `peer` until the permit is dropped. Returns the limit that would be
    /// exceeded.
    pub(super) fn admit(&self, peer: Address) -> Result<ConnectionPermit, ConnectionLimit> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= self.max_connections {
            return Err(ConnectionLimit::Connections);
        }
        let key = peer_key(peer);
        if key.and_then(|key| counts.per_peer.get(&key)).is_some_and(|count| *count >= self.max_per_peer) {
            return Err(ConnectionLimit::ConnectionsPerPeer);
        }
        let memory = ConnectionMemory::open(&self.memory).map_err(|Exhausted| ConnectionLimit::Memory)?;
        counts.total += 1;
        key.into_iter().for_each(|key| *counts.per_peer.entry(key).or_default() += 1);
        Ok(ConnectionPermit { counts: Arc::clone(&self.counts), key, memory })
    }
}

/// The slot of one open connection, freed on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    counts: Arc<Mutex<Counts>>,
    key: Option<IpAddr>,
    /// The memory of the connection, which outlives the permit where a call does.
    pub(super) memory: ConnectionMemory,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        let Some(key) = self.key else { return };
        if let Some(of_peer) = counts.per_peer.get_mut(&key) {
            *of_peer -= 1;
            if *of_peer == 0 {
                counts.per_peer.remove(&key);
            }
        }
    }
}

/// Returns what identifies a peer: its IPv4 address, or the /64 of its IPv6 address, because one
/// site is assigned at least a /64 (RFC 6177, section 2). `None` for a Unix socket: local clients
/// count only towards the total.
fn peer_key(peer: Address) -> Option<IpAddr> {
    let Address::Ip(address) = peer else { return None };
    Some(match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & PREFIX_64).into(),
        address => address,
    })
}

const PREFIX_64: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn a_connection_beyond_a_limit_is_refused_until_another_closes() {
        let limiter = limiter(4, 2);
        let admit = |peer: &str| limiter.admit(Address::Ip(peer.parse().unwrap()));
        let one = admit("192.0.2.1").unwrap();
        let _two = admit("::ffff:192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), ConnectionLimit::ConnectionsPerPeer);
        let _three = admit("2001:db8::1").unwrap();
        let four = admit("2001:db8::2").unwrap();
        assert_eq!(admit("198.51.100.1").unwrap_err(), ConnectionLimit::Connections);
        drop(four);
        let _four = admit("2001:db8::ffff:0:0:1").unwrap();
        drop(one);
        assert_eq!(
            admit("2001:db8::3").unwrap_err(),
            ConnectionLimit::ConnectionsPerPeer,
            "one /64 is one peer"
        );
        let _other = admit("2001:db8:0:1::1").unwrap();
        assert_eq!(limiter.counts.lock().unwrap().per_peer.len(), 3);
    }

    #[test]
    fn a_unix_socket_counts_only_towards_the_total() {
        let limiter = limiter(2, 1);
        let permits = [limiter.admit(Address::Unix).unwrap(), limiter.admit(Address::Unix).unwrap()];
        assert_eq!(limiter.admit(Address::Unix).unwrap_err(), ConnectionLimit::Connections);
        drop(permits);
        assert!(limiter.counts.lock().unwrap().per_peer.is_empty());
    }

    fn limiter(connections: usize, connections_per_peer: usize) -> ConnectionLimiter {
        let limits = LimitSettings { connections, connections_per_peer, ..LimitSettings::default() };
        let memory = MemoryLimit::new(1 << 30, 0, &Metrics::new());
        ConnectionLimiter::new(&limits, 1, memory).unwrap()
    }
}
