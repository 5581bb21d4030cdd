//! Where a port of ours is: on the network, or in the file system.

use std::{
    fmt::{self, Display, Formatter},
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::text;

/// Where gRPC is served: an address and port such as `127.0.0.1:50051`, or `unix:PATH` for clients in the same pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListenAddress {
    /// On the network.
    Tcp(SocketAddr),
    /// On a Unix socket of this path.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        match text.strip_prefix("unix:") {
            Some("") => Err(InvalidListenAddress),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListenAddress),
        }
    }
}

/// The text names no place to listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidListenAddress;

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
        let value = Value::deserialize(source)?;
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let wanted = "an address and port such as 127.0.0.1:50051, or unix: and a path";
            D::Error::custom(format_args!("`{}` is not {wanted}", text::quoted_value(&value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_to_listen_is_read_as_it_is_shown() {
        for text in ["127.0.0.1:50051", "[::1]:0", "unix:/run/lookup/grpc.sock", "unix:grpc.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for wrong in [json!("localhost:1"), json!("unix:"), json!(""), json!(50051), json!("127.0.0.1")] {
            assert!(serde_json::from_value::<ListenAddress>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
