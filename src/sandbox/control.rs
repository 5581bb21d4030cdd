//! Commands to a running sandbox, by way of its control port.

use std::io;

use bytes::Bytes;
use clap::{Args, Subcommand};
use cognito_standin::Scenario;
use futures_util::future::join;
use http::{Method, Request, StatusCode, Uri, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::net::TcpStream;

/// A command to a sandbox that runs.
#[derive(Debug, Subcommand)]
pub enum Control {
    /// Print a new token of a user or of a machine client
    Token(Token),
    /// Let Cognito fail, or end that
    Fault(Fault),
    /// Bring back the users of the start, end the fault and empty the cache
    Reset(Port),
}

/// The sandbox to control.
#[derive(Args, Debug)]
pub struct Port {
    /// The URL of the sandbox's Cognito emulator
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9229")]
    cognito: Uri,
}

/// The token to print.
#[derive(Args, Debug)]
pub struct Token {
    /// A username, a `sub`, or the id of a machine client
    user: String,
    /// A token that expired an hour ago
    #[arg(long)]
    expired: bool,
    /// A token with a signature that no key of the pool made
    #[arg(long)]
    forged: bool,
    /// An ID token
    #[arg(long)]
    id: bool,
    /// The scopes in the token, separated by spaces
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The groups in the token, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    groups: Option<Vec<String>>,
    #[command(flatten)]
    port: Port,
}

/// The fault to set.
#[derive(Args, Debug)]
pub struct Fault {
    /// throttle, outage, slow, hang, error, denied or no-keys; `none` ends it
    #[arg(value_parser = parse_fault)]
    fault: FaultName,
    #[command(flatten)]
    port: Port,
}

/// A fault, or none.
#[derive(Clone, Copy, Debug)]
struct FaultName(Option<Scenario>);

/// Why a command to a sandbox failed.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The port did not answer.
    #[error("no sandbox answers at {0}: {1}")]
    Unreachable(Uri, io::Error),
    /// The sandbox refused the command.
    #[error("the sandbox refused: {0}")]
    Refused(String),
}

impl Control {
    /// Returns what to print: a token, or nothing.
    pub async fn run(self) -> Result<Option<String>, ControlError> {
        match self {
            Self::Token(token) => token.mint().await.map(Some),
            Self::Fault(Fault { fault: FaultName(Some(scenario)), port }) => {
                port.call(Method::PUT, &format!("fault/{scenario}"), &Value::Null).await.map(|_| None)
            }
            Self::Fault(Fault { fault: FaultName(None), port }) => {
                port.call(Method::DELETE, "fault", &Value::Null).await.map(|_| None)
            }
            Self::Reset(port) => port.call(Method::POST, "reset", &Value::Null).await.map(|_| None),
        }
    }
}

impl Token {
    async fn mint(&self) -> Result<String, ControlError> {
        let Self { user, expired, forged, id, scope, groups, port } = self;
        let request = json!({
            "user": user, "expired": expired, "forged": forged, "id": id, "scope": scope, "groups": groups,
        });
        let answer = port.call(Method::POST, "token", &request).await?;
        let token = answer.get("access_token").and_then(Value::as_str).map(ToOwned::to_owned);
        token.ok_or_else(|| ControlError::Refused("its answer has no token".to_owned()))
    }
}

impl Port {
    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, ControlError> {
        let answer = self.exchange(method, path, body).await;
        let (status, body) =
            answer.map_err(|error| ControlError::Unreachable(self.cognito.clone(), error))?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() && answer.is_object() {
            return Ok(answer);
        }
        let error = answer.get("error").and_then(Value::as_str).map(ToOwned::to_owned);
        Err(ControlError::Refused(error.unwrap_or_else(|| format!("{status}; is it a sandbox?"))))
    }

    async fn exchange(&self, method: Method, path: &str, body: &Value) -> io::Result<(StatusCode, Bytes)> {
        let authority = self.cognito.authority().ok_or_else(|| io::Error::other("the URL has no host"))?;
        let host = authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
        let request = Request::builder().method(method).uri(format!("/sandbox/{path}"));
        let request = request.header(HOST, authority.as_str()).body(Full::new(Bytes::from(body.to_string())));
        let request = request.map_err(io::Error::other)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let answered = async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        // The connection ends once the sender has been dropped.
        let (answer, _) = join(answered, connection).await;
        answer.map_err(|error: hyper::Error| io::Error::other(error))
    }
}

fn parse_fault(text: &str) -> Result<FaultName, String> {
    if text == "none" {
        return Ok(FaultName(None));
    }
    text.parse().map(|scenario| FaultName(Some(scenario))).map_err(|error| format!("{error} or none"))
}
