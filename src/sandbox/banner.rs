//! The text that the sandbox prints at the start.

use std::{collections::HashSet, iter};

use cognito_standin::{StandIn, User};

use super::Replica;
use crate::config::ListenAddress;

/// Returns the banner: a warning, the addresses, each user's token, and calls to paste.
pub(super) fn text(standin: &StandIn, replicas: &[Replica], shared_cache: Option<&str>) -> String {
    let users = standin.users();
    let mut text = format!(
        "cognito-lookup sandbox: NOT FOR PRODUCTION; its users are fictitious and all changes are lost when it stops

{}  Cognito emulator {cognito} (user pool {pool})
  App client       {client}
  Control port     {cognito}/sandbox (tokens, faults, reset)
",
        replica_lines(replicas, shared_cache),
        cognito = standin.public_url(),
        pool = standin.pool_id(),
        client = standin.pool().web_clients.first().map_or("", String::as_str),
    );
    let names = shell_names(&users);
    let named = || users.iter().zip(&names);
    text.extend(named().map(|(user, name)| format!("\n{}", user_lines(standin, user, name))));
    text.push_str(&backend_lines(standin));
    let Some((user, name)) = named().find(|(user, _)| user.enabled) else {
        return text + "\n# no user of the pool is enabled, so there are no calls to paste\n";
    };
    if let Some((first, _)) = replicas.first() {
        text.push_str(&format!("\n{}", example_calls(standin, first, user, name)));
        // Replicas that share nothing get no events.
        let has_events = replicas.len() == 1 || shared_cache.is_some();
        text.push_str(&format!("\n{}", changes(standin, first, user, name, has_events)));
    }
    if let ([(first, _), (second, _), ..], Some(_)) = (replicas, shared_cache) {
        text.push_str(&format!("\n{}", shared_calls(first, second, user)));
    }
    text
}

/// Returns the addresses, and what the replicas share if there are several.
fn replica_lines(replicas: &[Replica], shared_cache: Option<&str>) -> String {
    let address = |(n, (listen, admin)): (usize, &Replica)| {
        let number = if replicas.len() > 1 { format!(" of replica {}", n + 1) } else { String::new() };
        format!(
            "  gRPC             {listen}{number} (plaintext, reflection on)
  Probes, metrics  http://{admin}/readyz, /livez, /metrics\n"
        )
    };
    let mut lines: String = replicas.iter().enumerate().map(address).collect();
    match shared_cache {
        Some(url) => lines.push_str(&format!("  Shared cache     {url}, with keys of this process\n")),
        None if replicas.len() > 1 => lines.push_str(
            "  Shared cache     none: each replica has a cache of its own; to share one, give --shared-cache URL\n",
        ),
        None => {}
    }
    lines
}

fn user_lines(standin: &StandIn, user: &User, name: &str) -> String {
    let disabled = if user.enabled { "" } else { ", disabled" };
    let password = user.password.as_ref().map(|password| format!(", password {password}"));
    let token = standin.access_token(&user.username).unwrap_or_default();
    format!(
        "# {}, {}{disabled}{}, sub {}\nexport {name}_TOKEN={token}\n",
        user.username,
        user.status,
        password.unwrap_or_default(),
        user.sub,
    )
}

/// Returns the token of a machine, which may read any user.
fn backend_lines(standin: &StandIn) -> String {
    let Some(client) = standin.pool().machine_clients.first() else { return String::new() };
    let token = standin.client_token(client);
    format!(
        "\n# a backend (client credentials of {}), which may read any user by sub\nexport {BACKEND}_TOKEN={token}\n",
        client.id
    )
}

fn example_calls(standin: &StandIn, listen: &ListenAddress, user: &User, name: &str) -> String {
    let method = "userlookup.v1.UserService/GetUser";
    let url = standin.endpoint_url();
    let port = if url == "http://127.0.0.1:9229" { String::new() } else { format!(" --cognito {url}") };
    format!(
        "# by access token: the token's user, with the attributes that its app client may read
grpcurl -plaintext -H \"authorization: Bearer ${name}_TOKEN\" {listen} {method}

# by sub, with the backend's own token
grpcurl -plaintext -H \"authorization: Bearer ${BACKEND}_TOKEN\" -d '{{\"sub\": \"{sub}\"}}' {listen} {method}

# an expired token; a Cognito that throttles; and all as at the start
{program} sandbox token {username} --expired{port}
{program} sandbox fault throttle{port}
{program} sandbox reset{port}

# without grpcurl
COGNITO_LOOKUP_TOKEN=${name}_TOKEN {program} get --address http://{listen}

# in another terminal: print which users change
COGNITO_LOOKUP_TOKEN=${BACKEND}_TOKEN {program} watch --address http://{listen}
",
        program = program(),
        username = shell_quoted(&user.username),
        sub = user.sub,
    )
}

/// Returns the calls that change a user with the AWS CLI, and read the change.
fn changes(standin: &StandIn, listen: &ListenAddress, user: &User, name: &str, has_events: bool) -> String {
    let get = |data: &str| {
        let method = "userlookup.v1.UserService/GetUser";
        format!("grpcurl -plaintext -H \"authorization: Bearer ${name}_TOKEN\"{data} {listen} {method}")
    };
    let update =
        aws(standin, user, "admin-update-user-attributes", " --user-attributes Name=name,Value=Changed");
    if !has_events {
        let get = get(" -d '{\"max_age\": \"0s\"}'");
        return format!("# change a user with the AWS CLI, then read the change\n{update}\n{get}\n");
    }
    let sign_out = aws(standin, user, "admin-user-global-sign-out", "");
    let get = get("");
    format!(
        "# change a user with the AWS CLI: the event of the change makes the cached user expire
{update}
{get}

# sign the user out everywhere: the event of that ends the token, and the call fails with TOKEN_REVOKED
{sign_out}
{get}
"
    )
}

/// Returns a command of the AWS CLI about a user.
fn aws(standin: &StandIn, user: &User, operation: &str, more: &str) -> String {
    format!(
        "AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws cognito-idp {operation} --region {region} \\
  --endpoint-url {cognito} --user-pool-id {pool} --username {username}{more}",
        region = standin.pool_id().split('_').next().unwrap_or_default(),
        cognito = standin.endpoint_url(),
        pool = standin.pool_id(),
        username = shell_quoted(&user.username),
    )
}

/// Returns the calls that show what two replicas share.
fn shared_calls(first: &ListenAddress, second: &ListenAddress, user: &User) -> String {
    let method = "userlookup.v1.UserService/GetUser";
    format!(
        "# replica 1 expires the user on all replicas and fetches it; replica 2 then answers with SOURCE_SHARED_CACHE
COGNITO_LOOKUP_TOKEN=${BACKEND}_TOKEN {program} expire --address http://{first} {sub}
grpcurl -plaintext -H \"authorization: Bearer ${BACKEND}_TOKEN\" -d '{{\"sub\": \"{sub}\"}}' {first} {method}
grpcurl -plaintext -H \"authorization: Bearer ${BACKEND}_TOKEN\" -d '{{\"sub\": \"{sub}\"}}' {second} {method}
",
        program = program(),
        sub = user.sub,
    )
}

/// Returns this program as a shell runs it.
fn program() -> String {
    std::env::args().next().as_deref().map_or_else(|| "cognito-lookup".into(), shell_quoted)
}

/// Quotes a text for a shell if necessary.
fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Makes a distinct shell variable name for each user: `A_B` and `A_B_2` for `a.b` and `a-b`.
fn shell_names(users: &[User]) -> Vec<String> {
    let mut taken = HashSet::from([BACKEND.to_owned()]);
    let unique = |user: &User| {
        let base = shell_name(&user.username);
        let numbered = (2..=users.len()).map(|n| format!("{base}_{n}"));
        let name = iter::once(base.clone()).chain(numbered).find(|name| taken.insert(name.clone()));
        name.unwrap_or(base)
    };
    users.iter().map(unique).collect()
}

fn shell_name(username: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = username.chars().map(letter).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// The name of the machine client's variable.
const BACKEND: &str = "BACKEND";

#[cfg(test)]
mod tests;
