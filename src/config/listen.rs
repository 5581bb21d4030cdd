//! The address of the gRPC port: on the network or a Unix socket.

use std::{
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

/// An address and port such as `127.0.0.1:50051`, or `unix:PATH` for clients in the same pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// On the network.
    Tcp(SocketAddr),
    /// On the Unix socket at this path.
    Unix(PathBuf),
}

impl ListenAddress {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Self::Unix(path.into())),
            None => text.parse().ok().map(Self::Tcp),
        }
    }
}

impl Display for ListenAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let expected =
            "an address to listen on; expected one such as 127.0.0.1:50051 or unix:/run/lookup.sock";
        text::read(source, expected, |value| Self::parse(value.as_str()?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_shown() {
        for text in ["127.0.0.1:50051", "[::1]:0", "unix:/run/lookup/grpc.sock", "unix:grpc.sock"] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
        for wrong in [json!("localhost:1"), json!("unix:"), json!(""), json!(50051), json!("127.0.0.1")] {
            assert!(serde_json::from_value::<ListenAddress>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
