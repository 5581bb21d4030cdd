//! The networks that callers without a credential may call from.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::auth::Address;

/// The addresses of one prefix, or the Unix sockets of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Network {
    Ip(IpNet),
    Unix,
}

impl Network {
    /// Reads a network such as `127.0.0.1/32`, or `unix`; the error says what is wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        match text.parse::<IpNet>() {
            Ok(network) if network == network.trunc() => Ok(Self::Ip(network)),
            Ok(network) => Err(format!("has host bits set: write {}", network.trunc())),
            Err(_) => Err(format!("{text:?} is neither a network such as 127.0.0.1/32 nor unix")),
        }
    }

    /// Returns whether `peer` is in the network.
    pub(super) fn contains(self, peer: Address) -> bool {
        match (self, peer) {
            // A dual-stack socket reports an IPv4 peer as ::ffff:a.b.c.d.
            (Self::Ip(network), Address::Ip(address)) => network.contains(&IpAddr::to_canonical(&address)),
            (Self::Unix, Address::Unix) => true,
            _ => false,
        }
    }

    /// Returns whether an address can be in both networks.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ip(own), Self::Ip(other)) => own.contains(&other) || other.contains(&own),
            (Self::Unix, Self::Unix) => true,
            _ => false,
        }
    }

    /// Returns whether the network has only addresses of this machine.
    pub(super) fn is_local(self) -> bool {
        match self {
            Self::Ip(network) => network.network().is_loopback() && network.broadcast().is_loopback(),
            Self::Unix => true,
        }
    }
}
