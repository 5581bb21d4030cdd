//! The variables that Kubernetes sets for every Service of a namespace. Those of a Service
//! `cognito-lookup` have the prefix of our settings (Kubernetes documentation, "Service",
//! "Environment variables").

use std::net::IpAddr;

/// Returns whether Kubernetes set this variable, from its name without the prefix and the form of
/// its value. Both must fit, so that a misspelt setting is still refused.
///
/// A Service `cognito-lookup-admin` adds `ADMIN_` to the front of the names.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    // Two underscores separate the parts of a setting's key.
    if name.contains("__") {
        return false;
    }
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_protocol = |text: &str| PROTOCOLS.iter().any(|known| text.eq_ignore_ascii_case(known));
    let is_url = value.split_once("://").is_some_and(|(scheme, _)| is_protocol(scheme));
    let is_address = value.parse::<IpAddr>().is_ok();
    let parts: Vec<_> = name.split('_').collect();
    match *parts.as_slice() {
        [.., "SERVICE", "HOST"] => is_address,
        [.., "PORT", port, protocol] if is_number(port) && is_protocol(protocol) => is_url,
        [.., "PORT", port, protocol, part] if is_number(port) && is_protocol(protocol) => match part {
            "ADDR" => is_address,
            "PORT" => value == port,
            "PROTO" => value.eq_ignore_ascii_case(protocol),
            _ => false,
        },
        // `SERVICE_PORT`, and `SERVICE_PORT_GRPC` for a port with a name.
        _ if parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]) => is_number(value),
        [.., "PORT"] => is_url,
        _ => false,
    }
}

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_of_services_are_recognised() {
        for (name, value, expected) in [
            ("SERVICE_HOST", "10.0.0.1", true),
            ("SERVICE_HOST", "fd00::1", true),
            ("SERVICE_PORT", "50051", true),
            ("SERVICE_PORT_GRPC", "50051", true),
            ("SERVICE_PORT_HTTP_ADMIN", "9090", true),
            ("PORT", "tcp://10.0.0.1:50051", true),
            ("PORT", "udp://[fd00::1]:53", true),
            ("PORT_50051_TCP", "tcp://10.0.0.1:50051", true),
            ("PORT_50051_TCP_ADDR", "10.0.0.1", true),
            ("PORT_50051_TCP_PORT", "50051", true),
            ("PORT_50051_TCP_PROTO", "tcp", true),
            ("PORT_53_UDP_PROTO", "udp", true),
            ("ADMIN_SERVICE_HOST", "10.0.0.1", true),
            ("HEAD_LESS_PORT_9090_TCP", "tcp://10.0.0.1:9090", true),
            // Misspelt settings, and what no Service sets.
            ("PORT", "50051", false),
            ("ADMIN_PORT", "9090", false),
            ("LISTEN_PORT", "127.0.0.1:50051", false),
            ("SERVICE_HOST", "localhost", false),
            ("SERVICE_PORT", "tcp://10.0.0.1:50051", false),
            ("SERVICE_NAME", "lookup", false),
            ("PORT_50051_TCP_NAME", "10.0.0.1", false),
            ("PORT_50051_TCP_PORT", "50052", false),
            ("PORT_GRPC_TCP", "tcp://10.0.0.1:50051", false),
            ("CACHE__PORT", "tcp://10.0.0.1:50051", false),
            ("POOLS__0__SERVICE_HOST", "10.0.0.1", false),
            ("", "", false),
        ] {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
    }
}
