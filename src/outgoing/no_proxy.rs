//! `NO_PROXY`: the servers that are reached without a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

/// The entries of `NO_PROXY`.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// The port; none for every port.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// A domain in lower case and all its subdomains.
    Domain(String),
}

impl NoProxy {
    /// Reads a list separated by commas or spaces: `*`, addresses, networks (`10.0.0.0/8`) and
    /// domains. `example.com`, `.example.com` and `*.example.com` mean the same. An entry may end
    /// with a port.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Self(entries.map(Entry::parse).collect())
    }

    /// Returns whether `host`, which may be an address, is reached directly. An address matches
    /// addresses and networks only, and a name is not resolved.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|entry| entry.hosts.contains(host) && entry.port.is_none_or(|own| own == port))
    }
}

impl Entry {
    fn parse(entry: &str) -> Self {
        let split = entry.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        let port = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = port.map_or((entry, None), |(host, port)| (host, Some(port)));
        Self { hosts: Hosts::parse(host), port }
    }
}

impl Hosts {
    fn parse(host: &str) -> Self {
        if host == "*" {
            return Self::All;
        }
        match (host.parse(), address(host)) {
            (Ok(network), _) => Self::Network(network),
            (_, Some(address)) => Self::Network(address.into()),
            _ => {
                let domain = host.strip_prefix('*').unwrap_or(host).trim_start_matches('.');
                Self::Domain(domain.to_ascii_lowercase())
            }
        }
    }

    fn contains(&self, host: &str) -> bool {
        match (self, address(host)) {
            (Self::All, _) => true,
            (Self::Network(network), Some(address)) => network.contains(&address),
            (Self::Domain(domain), None) => {
                let host = host.to_ascii_lowercase();
                let parent = host.strip_suffix(domain.as_str());
                parent.is_some_and(|parent| parent.is_empty() || parent.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// Returns a host as an address, in brackets or not (RFC 3986, section 3.2.2).
pub(super) fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_by_name_address_and_network() {
        let table = [
            ("", "a.example.com", false),
            ("*", "a.example.com", true),
            ("example.com", "example.com", true),
            ("example.com", "a.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com", "example.com.evil.org", false),
            (".example.com", "a.b.EXAMPLE.com", true),
            ("*.Example.com", "a.example.com", true),
            ("other.org, example.com", "example.com", true),
            ("other.org example.com", "example.com", true),
            ("example.com:443", "example.com", true),
            ("example.com:8443", "example.com", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("10.1.2.3:444", "10.1.2.3", false),
            ("1.2.3.4", "1.2.3.4.example.com", false),
            ("fd00::/8", "[fd00::1]", true),
            ("[fd00::1]:443", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]", true),
            ("fd00::1", "[fd00::2]", false),
        ];
        for (list, host, expected) in table {
            assert_eq!(NoProxy::parse(list).contains(host, 443), expected, "{list} {host}");
        }
    }
}
