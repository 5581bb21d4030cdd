//! What the client commands share: a connection, bounded in time, whose token goes with each call, and what to say of a
//! failed one.

use std::{fs, io, path::Path, path::PathBuf, time::Duration};

use clap::Args;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{CommandError, print::sanitized};
use crate::{
    config,
    proto::{admin_service_client::AdminServiceClient, user_service_client::UserServiceClient},
    user::Sub,
};

/// Which service to ask, and as whom.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Client {
    /// The service's URL: http://, https:// or unix: and the path of a socket
    #[arg(long, value_name = "URL", default_value = DEFAULT_ADDRESS)]
    address: String,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    token: Token,
}

/// The certificates of a connection.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Tls {
    /// The authorities that the service's certificate must be of, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The client certificate to present, with its error_chain, in PEM
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// The key of the client certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
}

/// Where an access token comes from: never an argument, which others on the machine can see.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Token {
    /// A file with the access token, sent as `authorization: Bearer`; `-` for standard input [default: the environment
    /// variable `COGNITO_LOOKUP_TOKEN`, if set]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A connection to a service, and the token to present.
pub(super) struct Connection {
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Reads the files and connects; every call ends within 5 s.
    pub(super) async fn connect(&self) -> Result<Connection, CommandError> {
        let bearer = self.token.read()?.map(|token| bearer(&token)).transpose()?;
        Ok(Connection { channel: connect(&self.address, &self.tls).await?, bearer })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Token {
    /// Returns the token without white space around it; none if none is given.
    pub(super) fn read(&self) -> Result<Option<String>, CommandError> {
        let Some(path) = &self.token_file else { return Ok(config::access_token()) };
        let text =
            if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
        Ok(Some(text.map_err(|error| unreadable(path, &error))?.trim().to_owned()))
    }
}

impl Connection {
    /// Returns what asks the `UserService`. A batch of the largest users is larger than gRPC's usual bound.
    pub(super) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Returns what asks the `AdminService`.
    pub(super) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Puts the token beside a message.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }
}

/// Connects to a service at a URL; every call over it ends within 5 s.
pub(super) async fn connect(address: &str, tls: &Tls) -> Result<Channel, CommandError> {
    let is_secure = address.starts_with("https://");
    let is_known = is_secure || ["http://", "unix:"].iter().any(|scheme| address.starts_with(scheme));
    let Some(Ok(mut endpoint)) = is_known.then(|| Endpoint::from_shared(address.to_owned())) else {
        return Err(CommandError::usage(format_args!("{address:?} is no URL such as {DEFAULT_ADDRESS}")));
    };
    if is_secure {
        endpoint = endpoint.tls_config(tls.read()?).map_err(CommandError::usage)?;
    } else if tls.ca_file.is_some() || tls.certificate_file.is_some() {
        return Err(CommandError::usage("certificates are for an address that begins with https://"));
    }
    let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    endpoint.connect().await.map_err(|error| {
        CommandError::unreachable(format_args!(
            "nobody answers at {address}: {}",
            crate::telemetry::error_chain(&error)
        ))
    })
}

impl Tls {
    fn read(&self) -> Result<ClientTlsConfig, CommandError> {
        let read = |path: &PathBuf| fs::read(path).map_err(|error| unreadable(path, &error));
        let config = match &self.ca_file {
            None => ClientTlsConfig::new().with_native_roots(),
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(path)?)),
        };
        match self.certificate_file.as_ref().zip(self.key_file.as_ref()) {
            None => Ok(config),
            Some((certificate, key)) => {
                Ok(config.identity(Identity::from_pem(read(certificate)?, read(key)?)))
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::usage(format_args!("{}: {error}", path.display()))
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, CommandError> {
    let mut bearer = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| CommandError::usage("the access token holds characters that no token has"))?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// Reads an argument that names a person; `-` is standard input, where no list of processes shows it.
pub(super) fn parse_sub(argument: &str) -> Result<Sub, CommandError> {
    let text = if argument == "-" {
        io::read_to_string(io::stdin()).map_err(CommandError::failed)?
    } else {
        argument.to_owned()
    };
    text.trim().parse().map_err(|error| CommandError::usage(format_args!("SUB {error}")))
}

/// Says why a call failed: code, reason and text, and which fields and attributes it is about.
pub(super) fn call_failed(status: &Status) -> CommandError {
    let (details, code) = (status.get_error_details(), format!("{:?}", status.code()));
    let mut message = reason(&code, status.message(), &details);
    let named = details.error_info().into_iter().flat_map(|info| &info.metadata);
    message.extend(named.map(|(name, value)| format!("\n  {}", sanitized(&format!("{name}: {value}")))));
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    message.extend(
        fields.map(|field| format!("\n  {}", sanitized(&format!("{}: {}", field.field, field.description)))),
    );
    message.extend(
        details.request_info().map(|request| format!("\n  request id: {}", sanitized(&request.request_id))),
    );
    CommandError::from_status(status, message)
}

/// Says a failure in one line.
pub(super) fn reason(code: &str, text: &str, details: &ErrorDetails) -> String {
    let reason = details.error_info().map(|info| format!(" {}", info.reason)).unwrap_or_default();
    sanitized(&format!("{code}{reason}: {text}"))
}

/// Where `serve` listens unless told otherwise.
pub(super) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
// A hundred users of 140 KB each.
const MAX_ANSWER_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_of_a_failure_steers_no_terminal() {
        const EVIL: &str = "a\u{1b}[2J\n\u{9b}0m\u{202e}z";
        let mut details = ErrorDetails::new();
        details.set_error_info(EVIL, EVIL, [(EVIL.to_owned(), EVIL.to_owned())]);
        details.add_bad_request_violation(EVIL, EVIL);
        details.set_request_info(EVIL, "");
        let status = Status::with_error_details(tonic::Code::InvalidArgument, EVIL, details);
        let message = call_failed(&status).message;
        assert_eq!(message.lines().count(), 4, "no line of its own: {message:?}");
        assert!(!message.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{message:?}");
        assert_eq!(message.matches("z").count(), 7, "but all that it says: {message:?}");
    }
}
