//! The networks that callers without a credential may call from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

    /// Returns whether `peer` is in the network. Unless `proxied`, the address of a mesh's sidecar is
    /// only in a network of just that address.
    pub(super) fn contains(self, peer: Address, proxied: bool) -> bool {
        match (self, peer) {
            (Self::Ip(network), Address::Ip(address)) => {
                // A dual-stack socket reports an IPv4 peer as ::ffff:a.b.c.d.
                let address = address.to_canonical();
                let is_allowed = proxied || !is_sidecar(peer) || IpNet::from(address) == network;
                is_allowed && network.contains(&address)
            }
            (Self::Unix, Address::Unix) => true,
            _ => false,
        }
    }

    /// Returns whether an address can be in both networks.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ip(own), Self::Ip(other)) => own.contains(&other) || other.contains(&own),
            _ => self == other,
        }
    }

    /// Returns whether the network has an IP address of this machine.
    pub(super) fn covers_loopback(self) -> bool {
        LOOPBACK.iter().any(|loopback| self.overlaps(Self::Ip(*loopback)))
    }

    /// Returns whether the network has only addresses of this machine.
    pub(super) fn is_local(self) -> bool {
        match self {
            Self::Ip(network) => network.network().is_loopback() && network.broadcast().is_loopback(),
            Self::Unix => true,
        }
    }
}

/// Returns whether a mesh's sidecar calls from this address, on behalf of others.
pub(super) fn is_sidecar(peer: Address) -> bool {
    matches!(peer, Address::Ip(address) if ISTIO.contains(&address.to_canonical()))
}

// The source addresses of Istio's pass-through clusters (pilot, `InboundPassthroughBindIpv4` and `-6`).
const ISTIO: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6))];
const LOOPBACK: [IpNet; 2] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];
