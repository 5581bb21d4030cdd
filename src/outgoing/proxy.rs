//! The proxies that the environment names.

use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tracing::info;

use super::{
    VariableError,
    no_proxy::{NoProxy, address},
};
use crate::config::environment_variable;

/// The proxies for HTTP and HTTPS, and the servers that are reached without one.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: NoProxy,
    /// The endpoints of instance and container credentials in the environment.
    credential_endpoints: Vec<Uri>,
}

/// An HTTP proxy. Its `Debug` and `Display` leave out its password.
#[derive(Clone)]
pub(super) struct Proxy {
    variable: &'static str,
    pub(super) uri: Uri,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxies {
    pub(super) fn from_environment() -> Result<Self, Vec<VariableError>> {
        let http = Proxy::named(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]);
        let https = Proxy::named(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let no_proxy = environment_variable(&["NO_PROXY", "no_proxy"]).map(|(_, list)| NoProxy::parse(&list));
        let endpoints = ["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        let endpoints = endpoints.map(|name| environment_variable(&[name])?.1.parse().ok());
        match (http, https) {
            (Ok(http), Ok(https)) => Ok(Self {
                http,
                https,
                no_proxy: no_proxy.unwrap_or_default(),
                credential_endpoints: endpoints.into_iter().flatten().collect(),
            }),
            (http, https) => {
                let mut errors: Vec<_> = http.err().into_iter().chain(https.err()).collect();
                errors.dedup_by_key(|error| error.variable);
                Err(errors)
            }
        }
    }

    /// Returns the proxy for a server; none to connect directly.
    pub(super) fn of(&self, target: &Uri) -> Option<&Proxy> {
        let (host, is_https) = (target.host()?, target.scheme_str() == Some("https"));
        let (proxy, port) = if is_https { (&self.https, 443) } else { (&self.http, 80) };
        let port = target.port_u16().unwrap_or(port);
        let proxy = proxy.as_ref()?;
        let is_direct = self.no_proxy.contains(host, port)
            || is_link_local(host)
            // The proxy of another machine would connect to itself.
            || (is_loopback(host) && !is_loopback(proxy.uri.host()?))
            || self.credential_endpoints.iter().any(|endpoint| endpoint.authority() == target.authority());
        (!is_direct).then_some(proxy)
    }

    /// Returns the `Proxy-Authorization` of a request that a proxy forwards. A tunnel has sent its
    /// own already.
    pub(super) fn forward_authorization(&self, target: &Uri) -> Option<&HeaderValue> {
        let proxy = self.of(target).filter(|_| target.scheme_str() == Some("http"))?;
        proxy.authorization.as_ref()
    }

    pub(super) fn log(&self) {
        for (proxy, scheme) in [(&self.http, "http"), (&self.https, "https")] {
            if let Some(proxy) = proxy {
                info!(%proxy, scheme, "outgoing connections use a proxy");
            }
        }
    }
}

impl Proxy {
    fn named(variables: &[&'static str]) -> Result<Option<Self>, VariableError> {
        let Some((variable, value)) = environment_variable(variables) else { return Ok(None) };
        Self::parse(variable, &value).map(Some)
    }

    fn parse(variable: &'static str, value: &str) -> Result<Self, VariableError> {
        let failed = || {
            let problem = "is no URL of an HTTP proxy such as http://proxy.example.com:3128";
            VariableError { variable, problem: problem.to_owned(), may_pass: false }
        };
        // It also decodes the user name and password. Any target will do.
        let matcher = Matcher::builder().all(value).build();
        let intercept = matcher.intercept(&Uri::from_static("http://localhost/")).ok_or_else(failed)?;
        // A password with a raw `@` or `/` leaves a part of itself in the URI, which is logged.
        let is_whole = intercept.uri().authority().is_some_and(|authority| {
            let has_port = authority.port_u16().is_some() || authority.as_str() == authority.host();
            !authority.as_str().contains('@') && has_port
        });
        let is_http = matches!(intercept.uri().scheme_str(), Some("http" | "https")) && is_whole;
        let (uri, authorization) = (intercept.uri().clone(), intercept.basic_auth().cloned());
        if is_http { Ok(Self { variable, uri, authorization }) } else { Err(failed()) }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.uri, self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

fn is_loopback(host: &str) -> bool {
    address(host).map_or_else(|| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

/// The addresses of instance metadata and of the credentials of containers and pods: IPv4
/// link-local ones, and `fd00:ec2::/32` (EC2 user guide, "Access instance metadata").
fn is_link_local(host: &str) -> bool {
    match address(host) {
        Some(std::net::IpAddr::V4(address)) => address.is_link_local(),
        Some(std::net::IpAddr::V6(address)) => {
            address.is_unicast_link_local() || address.segments().starts_with(&[0xfd00, 0xec2])
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_by_the_proxy_of_its_scheme_unless_it_is_near() {
        let remote = proxies("http://proxy.corp:3128", "http://user:secret@secure.corp");
        let local = proxies("http://127.0.0.1:3128", "http://localhost:3128");
        let table = [
            (&remote, "https://cognito-idp.eu-west-1.amazonaws.com/", Some("http://secure.corp/")),
            (&remote, "http://cognito.test:9229/", Some("http://proxy.corp:3128/")),
            (&remote, "https://inside.corp/", None),
            (&remote, "http://169.254.169.254/latest", None),
            (&remote, "http://169.254.170.2/v2/credentials", None),
            (&remote, "http://[fd00:ec2::254]/latest", None),
            (&remote, "http://[fd00:ec2::23]/v1/credentials", None),
            (&remote, "http://credentials.test:8080/token", None),
            (&remote, "http://credentials.test:8081/token", Some("http://proxy.corp:3128/")),
            (&remote, "http://127.0.0.1:9229/", None),
            (&remote, "https://localhost:9229/", None),
            (&remote, "http://[::1]:9229/", None),
            (&local, "http://127.0.0.1:9229/", Some("http://127.0.0.1:3128/")),
            (&local, "https://localhost:9229/", Some("http://localhost:3128/")),
        ];
        for (proxies, target, expected) in table {
            let proxy = proxies.of(&target.parse().unwrap()).map(|proxy| proxy.uri.to_string());
            assert_eq!(proxy.as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let proxies = proxies("http://user:s%40cret@proxy.corp:3128", "http://a:b@proxy.corp");
        let authorization = proxies.forward_authorization(&Uri::from_static("http://a.test/")).unwrap();
        assert_eq!(authorization, "Basic dXNlcjpzQGNyZXQ=");
        assert!(authorization.is_sensitive());
        assert!(proxies.forward_authorization(&Uri::from_static("https://a.test/")).is_none(), "a tunnel");
        assert!(!format!("{proxies:?}").contains("cret"), "{proxies:?}");
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_and_not_shown() {
        for url in ["http://user:s@cret@proxy.corp:3128", "http://user:s/cret@proxy.corp:3128"] {
            let problem = Proxy::parse("HTTPS_PROXY", url).unwrap_err().problem;
            assert!(!problem.contains("cret"), "{problem}");
        }
    }

    fn proxies(http: &str, https: &str) -> Proxies {
        let proxy = |url: &str| {
            let matcher = Matcher::builder().all(url).build();
            let intercept = matcher.intercept(&Uri::from_static("http://localhost/")).unwrap();
            let (uri, authorization) = (intercept.uri().clone(), intercept.basic_auth().cloned());
            Some(Proxy { variable: "HTTP_PROXY", uri, authorization })
        };
        let endpoints = vec![Uri::from_static("http://credentials.test:8080/token")];
        Proxies {
            http: proxy(http),
            https: proxy(https),
            no_proxy: NoProxy::parse("inside.corp"),
            credential_endpoints: endpoints,
        }
    }
}
