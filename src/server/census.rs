//! How many connections there are, in all and from each peer, and which one more would be too many.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{auth::Address, telemetry::metrics::ConnectionLimit};

/// The connections there are; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Census(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_per_peer: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_peer: HashMap<IpAddr, usize>,
}

impl Census {
    /// Counts from zero, to at most `most` in all and `most_per_peer` from one address.
    pub(super) fn new(most: usize, most_per_peer: usize) -> Self {
        Self(Arc::new(Inner { most, most_per_peer, counts: Mutex::default() }))
    }

    /// Counts a connection from `peer` until its seat is dropped; refused with the limit that it would pass.
    pub(super) fn admit(&self, peer: Address) -> Result<Seat, ConnectionLimit> {
        let Inner { most, most_per_peer, counts } = &*self.0;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= *most {
            return Err(ConnectionLimit::Connections);
        }
        let source = source(peer);
        if let Some(source) = source {
            let own = counts.of_peer.entry(source).or_default();
            if *own >= *most_per_peer {
                return Err(ConnectionLimit::ConnectionsPerPeer);
            }
            *own += 1;
        }
        counts.all += 1;
        Ok(Seat { census: self.clone(), source })
    }
}

/// The place of one connection; dropping it gives the place up.
#[derive(Debug)]
pub(super) struct Seat {
    census: Census,
    source: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(own) = counts.of_peer.get_mut(&source) {
            *own -= 1;
            if *own == 0 {
                counts.of_peer.remove(&source);
            }
        }
    }
}

/// Whom a connection is counted for: of IPv6 the /64, which is what one host is given (RFC 6177, section 2). Who is on
/// this machine has all of it at hand anyway.
fn source(peer: Address) -> Option<IpAddr> {
    let Address::Ip(address) = peer else { return None };
    Some(match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address => address,
    })
}

const NETWORK: u128 = u128::MAX << 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_too_many_is_refused_and_a_place_given_up_is_free() {
        let census = Census::new(4, 2);
        let admit = |peer: &str| census.admit(Address::Ip(peer.parse().unwrap()));
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
        assert_eq!(census.0.counts.lock().unwrap().of_peer.len(), 3);
    }

    #[test]
    fn a_unix_socket_is_bounded_in_all_only() {
        let census = Census::new(2, 1);
        let seats = [census.admit(Address::Unix).unwrap(), census.admit(Address::Unix).unwrap()];
        assert_eq!(census.admit(Address::Unix).unwrap_err(), ConnectionLimit::Connections);
        drop(seats);
        assert!(census.0.counts.lock().unwrap().of_peer.is_empty());
    }
}
