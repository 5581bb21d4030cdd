//! What an error of the store or of the connection means.

use std::io;

use redis::{ErrorKind, RedisError};
use tracing::debug;

use super::{
    super::fault::{Fault, FaultKind},
    tls,
};

/// Returns the fault that an error of a command is.
pub(super) fn fault(error: &RedisError) -> Fault {
    if let Some(code) = error.code() {
        return server_fault(code, error.detail().unwrap_or_default());
    }
    match error.kind() {
        ErrorKind::Parse => Fault::new(FaultKind::Closed, "the answer is not of the protocol of Valkey"),
        ErrorKind::AuthenticationFailed => Fault::new(FaultKind::Credentials, CREDENTIALS),
        ErrorKind::Io if error.is_timeout() => Fault::timeout(),
        ErrorKind::UnexpectedReturnType => {
            Fault::new(FaultKind::Script, "the script returned a value of another type")
        }
        _ => match io_source(error) {
            Some(error) => io_fault(error),
            None => Fault::new(FaultKind::Closed, "the connection was closed"),
        },
    }
}

/// Returns the fault that an error reply is.
fn server_fault(code: &str, detail: &str) -> Fault {
    let (kind, advice) = match code {
        "READONLY" | "UNBLOCKED" => (FaultKind::ReadOnly, "the server is a replica, which cannot be written"),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" => (FaultKind::NotReady, "the server is not ready"),
        "OOM" => (FaultKind::Full, "the server is full: raise its maxmemory, or let it evict keys"),
        "MISCONF" | "NOREPLICAS" => (FaultKind::Full, "the server refuses writes"),
        "NOAUTH" | "WRONGPASS" => (FaultKind::Credentials, CREDENTIALS),
        "MOVED" | "ASK" => {
            (FaultKind::Mode, "the server is a node of a cluster: set shared_cache.mode to cluster")
        }
        "BUSY" | "TRYAGAIN" => (FaultKind::Busy, "the server refuses commands at present"),
        "ERR" if detail.contains("max number of clients") => {
            (FaultKind::Busy, "the server has too many clients")
        }
        "NOPERM" => (FaultKind::Script, "the ACL of shared_cache.username does not allow what is needed"),
        // Any other error is about this command or its script.
        _ => (FaultKind::Script, "the server returned an error"),
    };
    Fault::new(kind, format_args!("{advice} ({code} {})", shortened(detail)))
}

/// An unknown command's error quotes the arguments.
fn shortened(detail: &str) -> &str {
    let end = detail.find(", with args").unwrap_or(detail.len());
    detail.get(..end.min(MAX_DETAIL)).unwrap_or_default()
}

/// Returns the fault that an error of a TLS handshake is.
pub(super) fn tls_handshake_fault(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Fault::new(
            FaultKind::Closed,
            format_args!(
                "the server ended the TLS handshake: check the scheme and the port of shared_cache.url ({error})"
            ),
        ),
        _ => io_fault(error),
    }
}

/// Returns the fault that an error of the socket or of TLS is.
fn io_fault(error: &io::Error) -> Fault {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, error.kind()) {
        (Some(error), _) => tls_fault(error),
        (None, io::ErrorKind::TimedOut) => Fault::timeout(),
        (None, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Fault::new(
            FaultKind::Closed,
            format_args!("nothing accepts connections at the address of shared_cache.url ({error})"),
        ),
        (None, _) => Fault::new(FaultKind::Closed, format_args!("the connection failed: {error}")),
    }
}

fn tls_fault(error: &rustls::Error) -> Fault {
    use rustls::{AlertDescription as Alert, Error};

    debug!(%error, "TLS to the shared cache failed");
    let advice = match error {
        Error::InvalidCertificate(_) => {
            format!(
                "the certificate of the server is not trusted: check {} and the host in shared_cache.url",
                tls::CA_FILE
            )
        }
        Error::AlertReceived(
            Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA | Alert::HandshakeFailure,
        ) => {
            format!("the server does not accept the client certificate: check {}", tls::CERTIFICATE)
        }
        Error::InvalidMessage(_) => {
            "the server does not speak TLS at this port: check the scheme and the port of shared_cache.url"
                .to_owned()
        }
        _ => "TLS failed".to_owned(),
    };
    Fault::new(FaultKind::Closed, format_args!("{advice} ({error})"))
}

fn io_source(error: &RedisError) -> Option<&io::Error> {
    // `source` of an internal error is the `Arc` around it.
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<io::Error>().or_else(|| {
        source.downcast_ref::<std::sync::Arc<dyn std::error::Error + Send + Sync>>()?.downcast_ref()
    })
}

const CREDENTIALS: &str = "the server does not accept the credentials: check shared_cache.username and shared_cache.password_file, or shared_cache.iam";
const MAX_DETAIL: usize = 200;

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;
    use rustls::{AlertDescription, CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn an_error_reply_is_classified_by_its_code() {
        for (reply, kind, named) in [
            ("READONLY You can't write against a read only replica.", FaultKind::ReadOnly, "replica"),
            ("UNBLOCKED force unblock from blocking operation", FaultKind::ReadOnly, "replica"),
            ("LOADING Redis is loading the dataset in memory", FaultKind::NotReady, "LOADING"),
            ("MASTERDOWN Link with MASTER is down", FaultKind::NotReady, "MASTERDOWN"),
            ("CLUSTERDOWN The cluster is down", FaultKind::NotReady, "CLUSTERDOWN"),
            ("OOM command not allowed", FaultKind::Full, "maxmemory"),
            ("MISCONF Redis is configured to save RDB snapshots", FaultKind::Full, "MISCONF"),
            ("NOREPLICAS Not enough good replicas to write.", FaultKind::Full, "NOREPLICAS"),
            ("NOAUTH Authentication required.", FaultKind::Credentials, "shared_cache.password_file"),
            ("WRONGPASS invalid username-password pair", FaultKind::Credentials, "shared_cache.iam"),
            ("MOVED 3999 127.0.0.1:6381", FaultKind::Mode, "shared_cache.mode"),
            ("BUSY Redis is busy running a script.", FaultKind::Busy, "BUSY"),
            ("ERR max number of clients reached", FaultKind::Busy, "too many clients"),
            ("NOPERM User cl has no permissions", FaultKind::Script, "shared_cache.username"),
            ("WRONGTYPE Operation against a key", FaultKind::Script, "WRONGTYPE"),
            ("ERR user_script:1: attempt to index a nil value", FaultKind::Script, "user_script:1"),
        ] {
            let value = parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
            let found = fault(&value.extract_error().unwrap_err());
            assert_eq!(found.kind, kind, "{reply}");
            assert!(found.cause.contains(named), "{reply}: {found}");
        }
    }

    #[test]
    fn no_argument_of_a_command_is_shown() {
        let reply = "-ERR unknown command 'EVALSHA', with args beginning with: 'sha' '1' 'cl:1:{secret}'\r\n";
        let found = fault(&parse_redis_value(reply.as_bytes()).unwrap().extract_error().unwrap_err());
        assert!(found.cause.contains("EVALSHA") && !found.cause.contains("secret"), "{found}");
    }

    #[test]
    fn an_error_of_tls_names_what_to_check() {
        let certificate = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (error, named) in [
            (certificate, "shared_cache.ca_file"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "shared_cache.certificate"),
            (rustls::Error::AlertReceived(AlertDescription::UnknownCA), "shared_cache.certificate"),
            (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), "shared_cache.url"),
            (rustls::Error::DecryptError, "TLS failed"),
        ] {
            // As the `redis` crate returns it after the handshake, and as rustls does within it.
            let io = || io::Error::new(io::ErrorKind::InvalidData, error.clone());
            for found in [fault(&RedisError::from(io())), tls_handshake_fault(&io())] {
                assert!(found.kind == FaultKind::Closed && found.cause.contains(named), "{found}");
            }
        }
        let ended = tls_handshake_fault(&io::ErrorKind::UnexpectedEof.into());
        assert!(ended.cause.contains("shared_cache.url"), "{ended}");
    }

    #[test]
    fn an_error_of_the_socket_is_a_timeout_or_a_closed_connection() {
        for (kind, expected) in [
            (io::ErrorKind::TimedOut, FaultKind::Timeout),
            (io::ErrorKind::BrokenPipe, FaultKind::Closed),
            (io::ErrorKind::ConnectionReset, FaultKind::Closed),
            (io::ErrorKind::ConnectionRefused, FaultKind::Closed),
        ] {
            assert_eq!(fault(&RedisError::from(io::Error::from(kind))).kind, expected, "{kind}");
        }
    }
}
