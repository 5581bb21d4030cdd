//! Where a caller without a credential may call from.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::auth::Address;

/// A network: addresses of one prefix, or the Unix sockets of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Network {
    /// The addresses of a prefix.
    Ip(IpNet),
    /// Unix sockets.
    Unix,
}

impl Network {
    /// Reads a network such as `127.0.0.1/32`, or `unix`; fails with what is wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        match text.parse::<IpNet>() {
            Ok(network) if network == network.trunc() => Ok(Self::Ip(network)),
            Ok(network) => Err(format!("has host bits set: write {}", network.trunc())),
            Err(_) => Err(format!("{text:?} is no network such as 127.0.0.1/32, and not unix")),
        }
    }

    /// Returns true if and only if `peer` is in the network.
    pub(super) fn contains(self, peer: Address) -> bool {
        match (self, peer) {
            // A dual-stack socket shows an IPv4 peer as ::ffff:a.b.c.d.
            (Self::Ip(network), Address::Ip(address)) => network.contains(&IpAddr::to_canonical(&address)),
            (Self::Unix, Address::Unix) => true,
            _ => false,
        }
    }

    /// Returns true if and only if somebody is in both networks.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ip(own), Self::Ip(other)) => own.contains(&other) || other.contains(&own),
            (Self::Unix, Self::Unix) => true,
            _ => false,
        }
    }

    /// Returns true if and only if nobody beyond this machine is in the network.
    pub(super) fn is_local(self) -> bool {
        match self {
            Self::Ip(network) => network.network().is_loopback() && network.broadcast().is_loopback(),
            Self::Unix => true,
        }
    }
}
