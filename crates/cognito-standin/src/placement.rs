//! Where a stand-in serves, and under which URL.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The address of a stand-in and the URL by which its clients name it.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The address to bind.
    pub address: SocketAddr,
    /// Whether the address may be another than a loopback address. Anyone who can connect to it can
    /// mint tokens and read the users.
    pub allow_remote: bool,
    /// The base URL by which other machines reach it, such as `http://sandbox:9229`. Its tokens have
    /// it as their issuer. Default: the address.
    pub url: Option<String>,
}

impl Placement {
    /// Fails if the address is not on loopback and need be.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.allow_remote || self.address.ip().is_loopback() {
            return Ok(());
        }
        let message = format!(
            "{} is not a loopback address; the Cognito stand-in serves on loopback only",
            self.address
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

impl From<SocketAddr> for Placement {
    fn from(address: SocketAddr) -> Self {
        Self { address, allow_remote: false, url: None }
    }
}

/// Returns the URL by which this machine reaches a server that is bound to `address`.
pub fn local_url(address: SocketAddr) -> String {
    let ip: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_url_of_this_machine() {
        for (address, url) in [
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            ("0.0.0.0:2", "http://127.0.0.1:2"),
            ("[::]:3", "http://[::1]:3"),
            ("10.0.0.7:4", "http://10.0.0.7:4"),
        ] {
            assert_eq!(local_url(address.parse().expect("an address")), url);
        }
    }

    #[test]
    fn another_address_than_loopback_must_be_allowed() {
        let remote = Placement::from(SocketAddr::from(([0, 0, 0, 0], 0)));
        assert_eq!(remote.check().expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        assert!(Placement { allow_remote: true, ..remote }.check().is_ok());
    }
}
