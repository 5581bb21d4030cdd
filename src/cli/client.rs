//! The connection of the client commands, and the error of a failed call.

use std::{
    error::Error,
    fs, io, iter,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use tokio::time::timeout;
use tonic::{
    Code, Request, Response, Status, TimeoutExpired,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    CommandError,
    print::{OutputFormat, sanitized},
    probe,
};
use crate::{
    config,
    proto::{admin_service_client::AdminServiceClient, user_service_client::UserServiceClient},
    user::Sub,
};

/// The service to call and the credentials to present.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Client {
    /// The service's URL: http://, https://, or unix: and the path of a socket
    #[arg(long, value_name = "URL", default_value = DEFAULT_ADDRESS)]
    address: String,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    token: Token,
}

/// The pool of the users, the output format and the service.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// The user's pool, if the service has several
    #[arg(long, value_name = "ID")]
    pub(super) user_pool_id: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) client: Client,
}

/// The TLS files of a connection.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Tls {
    /// The PEM file of the service's certificate authorities [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The PEM file of the client certificate to present, with its chain
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate_file: Option<PathBuf>,
    /// The PEM file of the client certificate's key
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    key_file: Option<PathBuf>,
}

/// The source of the access token: never an argument, which other users of the machine can see.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Token {
    /// The file of the access token; `-` for standard input [default: `COGNITO_LOOKUP_TOKEN`]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A connection to a service, and the token that each call carries.
pub(super) struct Connection {
    address: String,
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// Reads the files and connects. Connecting and every call time out after 5 s.
    pub(super) async fn connect(&self) -> Result<Connection, CommandError> {
        let bearer = self.token.read()?.map(|token| bearer(&token)).transpose()?;
        let (channel, address) = (connect(&self.address, &self.tls).await?, self.address.clone());
        Ok(Connection { address, channel, bearer })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Token {
    /// Returns the token without surrounding white space; none if none is given.
    pub(super) fn read(&self) -> Result<Option<String>, CommandError> {
        let Some(path) = &self.token_file else { return Ok(config::access_token()) };
        Ok(Some(read_text(path)?.trim().to_owned()))
    }
}

impl Connection {
    /// Returns a client of the `UserService`. The largest batch exceeds gRPC's default of 4 MiB.
    pub(super) fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Returns a client of the `AdminService`.
    pub(super) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Returns the message of a response, or the error of the failed call.
    pub(super) async fn finish<T>(&self, outcome: Result<Response<T>, Status>) -> Result<T, CommandError> {
        match outcome {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(call_failed(&self.address, &status).await),
        }
    }

    /// Returns a request with the token in its metadata.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }
}

/// Connects to a service at a URL. Connecting and every call time out after 5 s.
pub(super) async fn connect(address: &str, tls: &Tls) -> Result<Channel, CommandError> {
    let is_secure = address.starts_with("https://");
    let is_known = is_secure || ["http://", "unix:"].iter().any(|scheme| address.starts_with(scheme));
    let Some(Ok(mut endpoint)) = is_known.then(|| Endpoint::from_shared(address.to_owned())) else {
        return Err(CommandError::usage(format_args!(
            "{address:?} is not a URL of a service; expected one such as {DEFAULT_ADDRESS}"
        )));
    };
    if is_secure {
        endpoint = endpoint.tls_config(tls.read()?).map_err(CommandError::usage)?;
    } else if tls.ca_file.is_some() || tls.certificate_file.is_some() {
        return Err(CommandError::usage(
            "--ca-file and --certificate-file need an address that begins with https://",
        ));
    }
    let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    // The endpoint's own timeout does not include the TLS handshake.
    let error: Box<dyn Error> = match timeout(TIMEOUT, endpoint.connect()).await {
        Ok(Ok(channel)) => return Ok(channel),
        Ok(Err(error)) => error.into(),
        Err(elapsed) => elapsed.into(),
    };
    let spoken = probe::spoken(address).await;
    Err(CommandError::unreachable(probe::explain(address, spoken, &*error)))
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

/// Reads a text file; `-` is standard input.
pub(super) fn read_text(path: &Path) -> Result<String, CommandError> {
    let text =
        if path.as_os_str() == "-" { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    text.map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::usage(format_args!("{}: {error}", path.display()))
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>, CommandError> {
    let mut bearer = MetadataValue::try_from(format!("Bearer {token}"))
        .map_err(|_| CommandError::usage("the access token has a character that no token has"))?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// Parses an argument that names a user; `-` reads standard input, which process lists do not show.
pub(super) fn parse_sub(argument: &str) -> Result<Sub, CommandError> {
    let text = if argument == "-" { read_text(Path::new("-"))? } else { argument.to_owned() };
    text.trim().parse().map_err(|error| CommandError::usage(format_args!("SUB {error}")))
}

/// Returns the error of a failed call. If the service did not answer it, the error says why.
pub(super) async fn call_failed(address: &str, status: &Status) -> CommandError {
    if let Some(http) = status.message().strip_prefix(WITHOUT_GRPC_STATUS) {
        let answer =
            format!("{address} answered with HTTP status {http}, so it is another server or a proxy");
        return CommandError::from_status(status.code(), answer);
    }
    // tonic made the status itself, from an error of the connection.
    let Some(error) = status.source() else { return answered(status) };
    let is_timeout =
        iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<TimeoutExpired>());
    match probe::spoken(address).await {
        Ok(spoken) if is_timeout && probe::problem(spoken, address).is_none() => {
            let message = format!("{address} did not answer within {} s", TIMEOUT.as_secs());
            CommandError::from_status(Code::DeadlineExceeded, message)
        }
        spoken => CommandError::unreachable(probe::explain(address, spoken, error)),
    }
}

/// Returns the error that a service answered: code, reason, text, metadata, fields and request id.
fn answered(status: &Status) -> CommandError {
    let details = status.get_error_details();
    let metadata = details.error_info().into_iter().flat_map(|info| &info.metadata);
    let metadata = metadata.map(|(name, value)| format!("{name}: {value}"));
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    let fields = fields.map(|field| format!("{}: {}", field.field, field.description));
    let request_id = details.request_info().map(|info| format!("request id: {}", info.request_id));
    let mut message = reason(status.code(), status.message(), &details);
    let more = metadata.chain(fields).chain(request_id);
    message.extend(more.map(|line| format!("\n  {}", sanitized(&line))));
    CommandError::from_status(status.code(), message)
}

/// Returns the code, reason and text of a failure in one line.
pub(super) fn reason(code: Code, text: &str, details: &ErrorDetails) -> String {
    let reason = details.error_info().map(|info| format!(" {}", info.reason)).unwrap_or_default();
    sanitized(&format!("{code:?}{reason}: {text}"))
}

/// Where `serve` listens by default.
pub(super) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
// What tonic says of an answer that is not of gRPC.
const WITHOUT_GRPC_STATUS: &str = "grpc-status header missing, mapped from HTTP status code ";
// A hundred users of 140 KB each.
const MAX_ANSWER_BYTES: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_service_cannot_control_the_terminal() {
        const EVIL: &str = "a\u{1b}[2J\n\u{9b}0m\u{202e}z";
        let mut details = ErrorDetails::new();
        details.set_error_info(EVIL, EVIL, [(EVIL.to_owned(), EVIL.to_owned())]);
        details.add_bad_request_violation(EVIL, EVIL);
        details.set_request_info(EVIL, "");
        let status = Status::with_error_details(Code::InvalidArgument, EVIL, details);
        let message = answered(&status).message;
        assert_eq!(message.lines().count(), 4, "no added line: {message:?}");
        assert!(!message.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{message:?}");
        assert_eq!(message.matches("z").count(), 7, "all of the text: {message:?}");
    }
}
