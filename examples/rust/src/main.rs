//! Looks up the user of an incoming request: `AUTHORIZATION="Bearer …" cargo run -p cognito-lookup-example [HOST:PORT]`

use std::{env, error::Error, process::ExitCode, time::Duration};

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
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
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
/// machine, add `tls_config`, because the channel carries tokens.
async fn open(target: &str) -> Result<Channel, Box<dyn Error>> {
    let addresses = lookup_host(target).await?;
    let endpoints = addresses.map(|address| Endpoint::from_shared(format!("http://{address}")));
    Ok(Channel::balance_list(endpoints.collect::<Result<Vec<_>, _>>()?.into_iter()))
}

/// Looks up the user of the request that came with this header. Retries UNAVAILABLE after the delay
/// that the service requests, as a service config does in other languages.
async fn get_user(
    mut users: UserServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
    policy: &CallPolicy,
) -> Result<GetUserResponse, Status> {
    let deadline = Instant::now() + policy.timeout;
    for attempt in 1.. {
        let mut request = Request::new(GetUserRequest {
            attributes: vec!["name".to_owned(), "email".to_owned()],
            ..GetUserRequest::default()
        });
        request.set_timeout(deadline - Instant::now());
        request.metadata_mut().insert("authorization", authorization.clone());
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

/// Describes code, reason and retry delay. docs/errors.md says what each reason means for the user;
/// `ErrorReason` has the same table.
fn explain(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("unknown", |info| &info.reason);
    let delay = details.retry_info().and_then(|retry| retry.retry_delay);
    let again = delay.map(|delay| format!(", again in {} ms", delay.as_millis())).unwrap_or_default();
    format!("{:?} {reason}{again}", status.code())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let target = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    let users = UserServiceClient::new(open(&target).await?);
    match get_user(users, env::var("AUTHORIZATION")?.parse()?, &CallPolicy::read()?).await {
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
