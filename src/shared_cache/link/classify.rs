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
