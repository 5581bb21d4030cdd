//! `token inspect`: prints an access token, and whether the service would accept it.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use serde_json::Value;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;

use super::{CommandError, client, print, print_line};
use crate::{
    auth::{
        self, Address, Authenticator, Caller, Credentials, Identity, Inspection, Peer, Rejected,
        VerifiedTokens,
    },
    config::{Config, ErrorCollector, PoolSettings, Sources},
    outgoing::Outgoing,
    pool::{ClientId, PoolId, Pools},
    telemetry::metrics::Metrics,
};

/// The `token` commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print an access token and, given a pool or the settings, whether the service would accept it
    Inspect(Arguments),
}

/// The token, and the pools to verify it against.
#[derive(Args, Debug)]
#[command(
    after_help = "Without --user-pool-id or --config only the format of the token is checked. The signature is never printed."
)]
pub(super) struct Arguments {
    /// The pool whose keys must have signed the token; the keys are fetched
    #[arg(long, value_name = "ID", conflicts_with = "config")]
    user_pool_id: Option<String>,
    /// The URL of the pool's keys [default: that of AWS]
    #[arg(long, value_name = "URL", requires = "user_pool_id")]
    jwks_url: Option<String>,
    /// The pool's issuer [default: that of AWS]
    #[arg(long, value_name = "URL", requires = "user_pool_id")]
    issuer: Option<String>,
    /// The app client that the token must be for [default: the one it names]
    #[arg(long, value_name = "ID", requires = "user_pool_id")]
    app_client: Option<String>,
    /// The settings file of the service, for its pools and app clients
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the personal claims too: sub, username and groups
    #[arg(long)]
    personal: bool,
    #[command(flatten)]
    token: client::Token,
}

/// Prints the claims of the token, and then whether the service would accept it.
pub(super) async fn run(command: Command) -> Result<(), CommandError> {
    let Command::Inspect(arguments) = command;
    let missing = || CommandError::usage("give a token in --token-file or COGNITO_LOOKUP_TOKEN");
    let token = arguments.token.read()?.ok_or_else(missing)?;
    let Inspection { header, claims, form } = auth::inspect(&token);
    print_line(print::format_rows(&rows(&header, &claims, arguments.personal)))?;
    let result = match (pools(&arguments, &claims)?, form) {
        (_, Err(rejected)) => Err(rejected),
        (None, Ok(())) => Ok("well formed; give --user-pool-id or --config to verify it".to_owned()),
        (Some(pools), Ok(())) => verify(&token, issuing(&pools, &claims), &pools).await?,
    };
    match result {
        Ok(result) => print_line(result),
        Err(rejected @ Rejected::KeysUnavailable) => Err(CommandError::unreachable(rejected)),
        Err(rejected) => Err(CommandError::refused(format_args!("the service would refuse it: {rejected}"))),
    }
}

fn rows(header: &Value, claims: &Value, personal: bool) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let claim = |object: &Value, name: &'static str| {
        object.get(name).filter(|value| !value.is_null()).map(|value| (name, text(value)))
    };
    let time = |name| {
        let date = claims.get(name)?.as_f64().filter(|seconds| (0.0..YEAR_10000).contains(seconds));
        let Some(seconds) = date else { return claim(claims, name) };
        let at = UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds))?;
        Some((name, humantime::format_rfc3339(at).to_string()))
    };
    let hidden = |name: &'static str| {
        let (name, value) = claim(claims, name)?;
        Some((name, if personal { value } else { "present (--personal shows it)".to_owned() }))
    };
    let mut rows = Vec::from(["alg", "kid", "typ"].map(|name| claim(header, name)));
    rows.extend(["token_use", "iss", "client_id", "scope"].map(|name| claim(claims, name)));
    rows.extend(["iat", "nbf", "exp"].map(time));
    rows.extend(["sub", "username", "cognito:groups"].map(hidden));
    rows.into_iter().flatten().collect()
}

/// Returns the pools to verify against; none if none is given.
fn pools(arguments: &Arguments, claims: &Value) -> Result<Option<Pools>, CommandError> {
    let config = match (&arguments.user_pool_id, &arguments.config) {
        (None, None) => return Ok(None),
        (None, Some(file)) => Config::load(Sources::from_process(Some(file.clone()), Vec::new()))
            .map_err(CommandError::config)?,
        (Some(id), _) => {
            let named = || claims.get("client_id").and_then(Value::as_str).map(ToOwned::to_owned);
            let named = || named().filter(|id| id.parse::<ClientId>().is_ok());
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

/// Returns the pool that the token claims to be of.
fn issuing<'a>(pools: &'a Pools, claims: &Value) -> Option<&'a PoolId> {
    let issuer = claims.get("iss").and_then(Value::as_str)?;
    pools.by_issuer(issuer).map(|pool| &pool.id)
}

async fn verify(
    token: &str,
    pool: Option<&PoolId>,
    pools: &Pools,
) -> Result<Result<String, Rejected>, CommandError> {
    let metrics = Metrics::new();
    let config = Config::default();
    let tokens = Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, &metrics));
    let mut errors = ErrorCollector::new(&config);
    let outgoing = Outgoing::read(&mut errors);
    let outgoing = errors.finish(outgoing).map_err(CommandError::config)?;
    let authenticator = Authenticator::start(pools, tokens, &metrics.tokens, &outgoing);
    // The result says so if the keys were not fetched in time.
    if let Some(pool) = pool {
        drop(timeout(client::TIMEOUT, authenticator.ready(pool)).await);
    }
    let mut metadata = MetadataMap::new();
    let unusable = |_| CommandError::usage("the access token has a character that no token has");
    metadata.insert("authorization", format!("Bearer {token}").parse().map_err(unusable)?);
    let peer = Peer { address: Address::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), certificate: None };
    let credentials = Credentials { metadata: &metadata, access_token: "", peer: &peer };
    Ok(authenticator.authenticate(credentials).await.map(|caller| describe(&caller)))
}

fn describe(caller: &Caller) -> String {
    let kind = match caller.identity() {
        Identity::User(_) => "a user's",
        _ => "a machine's",
    };
    format!("valid: {kind} access token, signed by the pool and not expired")
}

// Later dates have no RFC 3339 form.
const YEAR_10000: f64 = 253_402_300_800.0;
