//! How many connections there are, in all and from each peer, and which one more would be too many.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{auth::Address, telemetry::metrics::ConnectionLimit};

/// The connections there are; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_connections: usize,
    max_per_peer: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_peer: HashMap<IpAddr, usize>,
}

impl ConnectionLimiter {
    /// Counts from zero, to at max_connections `max_connections` in all and `max_per_peer` from one address.
    pub(super) fn new(max_connections: usize, max_per_peer: usize) -> Self {
        Self(Arc::new(Inner { max_connections, max_per_peer, counts: Mutex::default() }))
    }

    /// Counts a connection from `peer` until its permit is dropped; refused with the limit that it would pass.
    pub(super) fn admit(&self, peer: Address) -> Result<ConnectionPermit, ConnectionLimit> {
        let Inner { max_connections, max_per_peer, counts } = &*self.0;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= *max_connections {
            return Err(ConnectionLimit::Connections);
        }
        let key = peer_key(peer);
        if let Some(key) = key {
            let of_peer = counts.per_peer.entry(key).or_default();
            if *of_peer >= *max_per_peer {
                return Err(ConnectionLimit::ConnectionsPerPeer);
            }
            *of_peer += 1;
        }
        counts.total += 1;
        Ok(ConnectionPermit { limiter: self.clone(), key })
    }
}

/// The place of one connection; dropping it gives the place up.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: ConnectionLimiter,
    key: Option<IpAddr>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limiter.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Whom a connection is counted for: of IPv6 the /64, which is what one host is given (RFC 6177, section 2). Who is on
/// this machine has all of it at hand anyway.
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

    #[test]
    fn a_connection_too_many_is_refused_and_a_place_given_up_is_free() {
        let limiter = ConnectionLimiter::new(4, 2);
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
        assert_eq!(limiter.0.counts.lock().unwrap().per_peer.len(), 3);
    }

    #[test]
    fn a_unix_socket_is_bounded_in_all_only() {
        let limiter = ConnectionLimiter::new(2, 1);
        let permits = [limiter.admit(Address::Unix).unwrap(), limiter.admit(Address::Unix).unwrap()];
        assert_eq!(limiter.admit(Address::Unix).unwrap_err(), ConnectionLimit::Connections);
        drop(permits);
        assert!(limiter.0.counts.lock().unwrap().per_peer.is_empty());
    }
}
