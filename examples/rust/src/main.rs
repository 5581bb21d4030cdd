//! Looks up the user of an incoming request: `AUTHORIZATION="Bearer …" cargo run -p cognito-lookup-example [HOST:PORT]`
//!
//! For TLS, CA_FILE names the authorities of the service, and CERTIFICATE_FILE and KEY_FILE a client
//! certificate.

use std::{env, error::Error, fs, process::ExitCode, time::Duration};

use cognito_lookup_client::{
    GetUserRequest, GetUserResponse, Source, user_service_client::UserServiceClient,
};
use serde_json::Value;
use tokio::{
    net::lookup_host,
    time::{self, Instant},
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt as _;

/// The deadline and the retries of a call. tonic has no service config, so this example reads what it
/// needs of the file that the libraries of other languages load.
struct CallPolicy {
    timeout: Duration,
    max_attempts: u64,
    backoff: Duration,
}

impl CallPolicy {
    fn read() -> Result<Self, Box<dyn Error>> {
        let config: Value = serde_json::from_str(include_str!("../../service_config.json"))?;
        let method = &config["methodConfig"][0];
        let retries = &method["retryPolicy"];
        let seconds = |field: &Value| field.as_str()?.strip_suffix('s')?.parse().ok();
        let duration = |field| seconds(field).map(Duration::from_secs_f64).ok_or("not a duration");
        Ok(Self {
            timeout: duration(&method["timeout"])?,
            max_attempts: retries["maxAttempts"].as_u64().ok_or("not a number")?,
            backoff: duration(&retries["initialBackoff"])?,
        })
    }
}

/// Opens one channel for the whole process, over all addresses that the name has now. tonic has no
/// service config: it reconnects, but neither checks health nor resolves the name again. Beyond this
/// machine it needs TLS, because it carries tokens.
async fn open(target: &str) -> Result<Channel, Box<dyn Error>> {
    let security = security(target.rsplit_once(':').map_or(target, |(host, _)| host))?;
    let endpoint = |address| match &security {
        None => Endpoint::from_shared(format!("http://{address}")),
        Some(tls) => Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls.clone()),
    };
    let endpoints = lookup_host(target).await?.map(endpoint).collect::<Result<Vec<_>, _>>()?;
    Ok(Channel::balance_list(endpoints.into_iter()))
}

/// Returns what a channel to `host` uses for TLS; none without CA_FILE.
fn security(host: &str) -> Result<Option<ClientTlsConfig>, Box<dyn Error>> {
    let read = |name| env::var(name).ok().map(fs::read).transpose();
    let Some(authorities) = read("CA_FILE")? else { return Ok(None) };
    let authorities = Certificate::from_pem(authorities);
    let tls = ClientTlsConfig::new().domain_name(host).ca_certificate(authorities);
    Ok(Some(match read("CERTIFICATE_FILE")?.zip(read("KEY_FILE")?) {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        None => tls,
    }))
}

/// Looks up the user of the request that came with these headers, one of which is its authorization.
/// Retries UNAVAILABLE after the delay that the service requests, as a service config does in other
/// languages.
async fn get_user(
    mut users: UserServiceClient<Channel>,
    headers: &MetadataMap,
    policy: &CallPolicy,
) -> Result<GetUserResponse, Status> {
    let deadline = Instant::now() + policy.timeout;
    for attempt in 1.. {
        let mut request = Request::new(GetUserRequest {
            attributes: vec!["name".to_owned(), "email".to_owned()],
            ..GetUserRequest::default()
        });
        request.set_timeout(deadline - Instant::now());
        // The user's token, and what joins logs and traces.
        for name in ["authorization", "x-request-id", "traceparent"] {
            if let Some(value) = headers.get(name) {
                request.metadata_mut().insert(name, value.clone());
            }
        }
        let status = match time::timeout_at(deadline, users.get_user(request)).await {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => break,
        };
        match pause(&status, policy.backoff).filter(|_| attempt < policy.max_attempts) {
            // After a longer pause no time is left, and the reason would be lost.
            Some(pause) if Instant::now() + pause < deadline => time::sleep(pause).await,
            _ => return Err(status),
        }
    }
    Err(Status::deadline_exceeded("no answer in time"))
}

/// Returns the delay before the next attempt. A pushback that is not a number forbids one (gRFC A6).
fn pause(status: &Status, backoff: Duration) -> Option<Duration> {
    let pause = match status.metadata().get("grpc-retry-pushback-ms") {
        None => backoff,
        Some(pushback) => Duration::from_millis(pushback.to_str().ok()?.parse().ok()?),
    };
    (status.code() == Code::Unavailable).then_some(pause)
}

/// Describes code, reason, retry delay and request. docs/errors.md says what each reason means for the
/// user; `ErrorReason` has the same table.
fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("unknown", |info| &info.reason);
    let delay = details.retry_info().and_then(|retry| retry.retry_delay);
    let again = delay.map(|delay| format!(", again in {} ms", delay.as_millis())).unwrap_or_default();
    let id = details.request_info().map(|info| format!(", request {}", info.request_id));
    format!("{:?} {reason}{again}{}", status.code(), id.unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let target = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    let mut headers = MetadataMap::new();
    for (name, variable) in [("authorization", "AUTHORIZATION"), ("x-request-id", "REQUEST_ID")] {
        if let Ok(value) = env::var(variable) {
            headers.insert(name, value.parse()?);
        }
    }
    if !headers.contains_key("authorization") {
        // Answer 401 without a call.
        eprintln!("Unauthenticated TOKEN_MISSING");
        return Ok(ExitCode::FAILURE);
    }
    let users = UserServiceClient::new(open(&target).await?);
    match get_user(users, &headers, &CallPolicy::read()?).await {
        Ok(GetUserResponse { user, freshness }) => {
            let (user, freshness) = (user.unwrap_or_default(), freshness.unwrap_or_default());
            let named = |name| user.attributes.get(name).map_or("", String::as_str);
            let source = Source::try_from(freshness.source).unwrap_or_default().as_str_name();
            println!("{} <{}>, {source}", named("name"), named("email"));
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            eprintln!("{}", explain(&status));
            Ok(ExitCode::FAILURE)
        }
    }
}
