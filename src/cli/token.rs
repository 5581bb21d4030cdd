//! `token inspect`: says what an access token is, and why the service would refuse it, by the service's own rules.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;

use super::{CommandError, client, print, print_line};
use crate::{
    auth::{self, Address, Authenticator, Caller, Credentials, Identity, Peer, Rejected},
    config::{Config, ErrorCollector, PoolSettings, Sources},
    pool::Pools,
    telemetry::metrics::Metrics,
};

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say what an access token is and, given a pool or the settings, whether the service would take it
    Inspect(Arguments),
}

/// Which token, and what to hold it against.
#[derive(Args, Debug)]
#[command(
    after_help = "Without --user-pool-id or --config only the form of the token is checked. The signature is never printed."
)]
pub(super) struct Arguments {
    /// The pool whose keys must have signed it; the keys are fetched
    #[arg(long, value_name = "ID", conflicts_with = "config")]
    user_pool_id: Option<String>,
    /// Where the pool's keys are, where they are not where AWS has them
    #[arg(long, value_name = "URL", requires = "user_pool_id")]
    jwks_url: Option<String>,
    /// The pool's issuer, where it is not the one that AWS has for it
    #[arg(long, value_name = "URL", requires = "user_pool_id")]
    issuer: Option<String>,
    /// The app client that it must be for [default: the one it names]
    #[arg(long, value_name = "ID", requires = "user_pool_id")]
    app_client: Option<String>,
    /// The settings file of the service, in TOML, for its pools and app clients
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the personal claims too: sub, username and groups
    #[arg(long)]
    personal: bool,
    #[command(flatten)]
    token: client::Token,
}

/// Prints what the token says, and then the verdict.
pub(super) async fn run(command: Command) -> Result<(), CommandError> {
    let Command::Inspect(arguments) = command;
    let missing = || CommandError::usage("give a token in --token-file or COGNITO_LOOKUP_TOKEN");
    let token = arguments.token.read()?.ok_or_else(missing)?;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    print_line(print::format_rows(rows(&header, &claims, arguments.personal)))?;
    let verdict = match pools(&arguments, &claims)? {
        None => auth::check_form(&token)
            .map(|()| "it is well formed; give --user-pool-id or --config to verify it".to_owned()),
        Some(pools) => verify(&token, &pools).await?,
    };
    match verdict {
        Ok(verdict) => print_line(verdict),
        Err(rejected @ Rejected::KeysUnavailable) => Err(CommandError::unreachable(rejected)),
        Err(rejected) => Err(CommandError::refused(format_args!("it would be refused: {rejected}"))),
    }
}

/// What is said is not yet known to be true, so it is read as it stands; the rules are the service's.
fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn rows(header: &Value, claims: &Value, personal: bool) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let told = |object: &Value, name: &'static str| object.get(name).map(|value| (name, text(value)));
    let time = |name| {
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(claims.get(name)?.as_u64()?))?;
        Some((name, humantime::format_rfc3339_seconds(at).to_string()))
    };
    let hidden = |name: &'static str| {
        let (name, value) = told(claims, name)?;
        Some((name, if personal { value } else { "there (personal: --personal shows it)".to_owned() }))
    };
    let rows = [
        told(header, "alg"),
        told(header, "kid"),
        told(header, "typ"),
        told(claims, "token_use"),
        told(claims, "iss"),
        told(claims, "client_id"),
        told(claims, "scope"),
        time("iat"),
        time("nbf"),
        time("exp"),
        hidden("sub"),
        hidden("username"),
        hidden("cognito:groups"),
    ];
    rows.into_iter().flatten().collect()
}

/// The pools to hold it against; none if none is given.
fn pools(arguments: &Arguments, claims: &Value) -> Result<Option<Pools>, CommandError> {
    let config = match (&arguments.user_pool_id, &arguments.config) {
        (None, None) => return Ok(None),
        (None, Some(file)) => Config::load(Sources::from_process(Some(file.clone()), Vec::new()))
            .map_err(CommandError::config)?,
        (Some(id), _) => {
            let named = || claims.get("client_id").and_then(Value::as_str).map(ToOwned::to_owned);
            let client = arguments.app_client.clone().or_else(named);
            let pool = PoolSettings {
                id: id.clone(),
                app_clients: vec![client.unwrap_or_else(|| "none".to_owned())],
                issuer: arguments.issuer.clone(),
                jwks_url: arguments.jwks_url.clone(),
                ..PoolSettings::default()
            };
            Config { pools: vec![pool], ..Config::default() }
        }
    };
    let mut errors = ErrorCollector::new(&config);
    let pools = Pools::read(&config, &mut errors);
    errors.finish(pools).map(Some).map_err(CommandError::config)
}

async fn verify(token: &str, pools: &Pools) -> Result<Result<String, Rejected>, CommandError> {
    let config = Config::default();
    let authenticator =
        Authenticator::start(pools, &config.cache, std::sync::Arc::default(), &Metrics::new())
            .map_err(CommandError::failed)?;
    // Keys that do not come are told by the verdict.
    drop(timeout(client::TIMEOUT, authenticator.ready()).await);
    let mut metadata = MetadataMap::new();
    let unusable = |_| CommandError::usage("the access token holds characters that no token has");
    metadata.insert("authorization", format!("Bearer {token}").parse().map_err(unusable)?);
    let peer = Peer { address: Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), certificate: None };
    let credentials = Credentials { metadata: &metadata, access_token: "", peer: &peer };
    Ok(authenticator.authenticate(credentials).await.map(|caller| verdict(&caller)))
}

fn verdict(caller: &Caller) -> String {
    let kind = match caller.identity() {
        Identity::User(_) => "a person's",
        _ => "a machine's",
    };
    format!("it is good: {kind} access token, signed by the pool and not expired")
}
