//! Looks up the user of an incoming request: `AUTHORIZATION="Bearer …" cargo run -p cognito-lookup-example [HOST:PORT]`

use std::{env, error::Error, process::ExitCode, time::Duration};

use cognito_lookup_client::{
    GetUserRequest, GetUserResponse, Source, user_service_client::UserServiceClient,
};
use tokio::{net::lookup_host, time};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

const ATTEMPTS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(2);

/// Opens one channel for the whole process, over all addresses that the name has now. tonic has no
/// service config: it reconnects, but neither checks health nor resolves the name again. Beyond this
/// machine, add `tls_config`, because the channel carries tokens.
async fn open(target: &str) -> Result<Channel, Box<dyn Error>> {
    let addresses = lookup_host(target).await?;
    let endpoints = addresses.map(|address| Endpoint::from_shared(format!("http://{address}")));
    Ok(Channel::balance_list(endpoints.collect::<Result<Vec<_>, _>>()?.into_iter()))
}

/// Looks up the user of the request that came with this header.
async fn get_user(
    users: UserServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
) -> Result<GetUserResponse, Status> {
    let call = with_retries(users, authorization);
    time::timeout(DEADLINE, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

/// Retries UNAVAILABLE after the delay that the service requests, as a service config does in other
/// languages.
async fn with_retries(
    mut users: UserServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
) -> Result<GetUserResponse, Status> {
    let mut attempt = 1;
    loop {
        let mut request = Request::new(GetUserRequest {
            attributes: vec!["name".to_owned(), "email".to_owned()],
            ..GetUserRequest::default()
        });
        request.set_timeout(DEADLINE);
        request.metadata_mut().insert("authorization", authorization.clone());
        match users.get_user(request).await {
            Ok(reply) => return Ok(reply.into_inner()),
            Err(status) => match pause(&status).filter(|_| attempt < ATTEMPTS) {
                Some(pause) => time::sleep(pause).await,
                None => return Err(status),
            },
        }
        attempt += 1;
    }
}

/// Returns the delay before the next attempt. A pushback that is not a number forbids one (gRFC A6).
fn pause(status: &Status) -> Option<Duration> {
    let pushback = status.metadata().get("grpc-retry-pushback-ms");
    let pause = pushback.map_or(Some(100), |value| value.to_str().ok()?.parse().ok());
    pause.filter(|_| status.code() == Code::Unavailable).map(Duration::from_millis)
}

/// Describes code, reason and retry delay. Log users out on `Unauthenticated` only.
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
    match get_user(users, env::var("AUTHORIZATION")?.parse()?).await {
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
