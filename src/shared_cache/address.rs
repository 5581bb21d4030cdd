//! The URLs of servers.

use http::Uri;

use super::target::Address;

/// A server as a URL names it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct ServerUrl {
    pub(super) address: Address,
    /// Whether connections to it are encrypted.
    pub(super) is_tls: bool,
}

impl ServerUrl {
    /// Reads a URL. Fails with a text that shows nothing of it, because it may hold a password.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let address = Address::Unix(path.into());
            return if path.is_empty() { Err(NO_URL) } else { Ok(Self { address, is_tls: false }) };
        }
        // Before it is parsed, because a password may have characters that no URL has.
        if text.contains('@') {
            return Err(SECRET);
        }
        let uri = text.parse::<Uri>().map_err(|_| NO_URL)?;
        let is_tls = match uri.scheme_str() {
            Some("rediss") => true,
            Some("redis") => false,
            _ => return Err(NO_URL),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
            return Err(DATABASE);
        }
        Ok(Self { address: tcp(&uri, default_port).ok_or(NO_URL)?, is_tls })
    }
}

fn tcp(uri: &Uri, default_port: u16) -> Option<Address> {
    let (authority, host) = (uri.authority()?.as_str(), uri.host().filter(|host| !host.is_empty())?);
    let port = if authority == host { default_port } else { uri.port_u16().filter(|port| *port != 0)? };
    Some(Address::Tcp { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port })
}

const NO_URL: &str =
    "is not the URL of a server; expected rediss://HOST:PORT, redis://HOST:PORT or unix:PATH";
const SECRET: &str =
    "must not hold a user name or password; use shared_cache.username and shared_cache.password_file";
const DATABASE: &str = "must end after the port; use shared_cache.namespace in place of a database's number";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_address_with_or_without_tls() {
        for (text, shown, is_tls) in [
            ("rediss://cache.example:6380", "cache.example:6380", true),
            ("rediss://cache.example", "cache.example:7", true),
            ("redis://127.0.0.1:6379", "127.0.0.1:6379", false),
            ("redis://127.0.0.1:6379/", "127.0.0.1:6379", false),
            ("redis://[::1]:6379", "[::1]:6379", false),
            ("redis://[::1]", "[::1]:7", false),
            ("unix:/run/valkey.sock", "/run/valkey.sock", false),
            ("unix:v@lkey.sock", "v@lkey.sock", false),
        ] {
            let url = ServerUrl::parse(text, 7).unwrap();
            assert_eq!((url.address.to_string().as_str(), url.is_tls), (shown, is_tls), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for (text, problem) in [
            ("", NO_URL),
            ("cache.example:6379", NO_URL),
            ("https://cache.example:6379", NO_URL),
            ("redis:cache.example", NO_URL),
            ("redis://", NO_URL),
            ("redis://:6379", NO_URL),
            ("redis://cache.example:", NO_URL),
            ("redis://cache.example:0", NO_URL),
            ("redis://cache.example:65536", NO_URL),
            ("redis://cache example", NO_URL),
            ("unix:", NO_URL),
            ("redis://:secret@cache.example:6379", SECRET),
            ("redis://ada:se cret@cache.example", SECRET),
            ("secret@cache.example", SECRET),
            ("redis://cache.example:6379/2", DATABASE),
            ("redis://cache.example:6379?db=2", DATABASE),
            ("rediss://cache.example:6379#insecure", DATABASE),
        ] {
            assert_eq!(ServerUrl::parse(text, 7), Err(problem), "{text}");
        }
    }

    #[test]
    fn an_address_on_this_machine_is_local() {
        for (text, expected) in [
            ("redis://localhost", true),
            ("redis://127.0.0.2", true),
            ("redis://[::1]", true),
            ("unix:/run/valkey.sock", true),
            ("redis://10.0.0.1", false),
            ("redis://[fd00::1]", false),
            ("redis://localhost.example", false),
        ] {
            assert_eq!(ServerUrl::parse(text, 7).unwrap().address.is_local(), expected, "{text}");
        }
    }
}
