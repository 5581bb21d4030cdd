//! The text that the sandbox prints at the start.

use std::{collections::HashSet, iter, net::SocketAddr};

use cognito_standin::{StandIn, User};

use crate::config::ListenAddress;

/// The addresses of a replica: of gRPC, and of probes and metrics.
type Replica = (ListenAddress, SocketAddr);

/// Returns the banner: a warning, the addresses, each user's token, and calls to paste.
pub(super) fn text(standin: &StandIn, replicas: &[Replica], shared_cache: Option<&str>) -> String {
    let users = standin.users();
    let mut text = format!(
        "cognito-lookup sandbox: NOT FOR PRODUCTION; its users are fictitious and all changes are lost when it stops

{}  Cognito emulator {cognito} (user pool {pool})
",
        replica_lines(replicas, shared_cache),
        cognito = standin.endpoint_url(),
        pool = standin.pool_id(),
    );
    let names = shell_names(&users);
    let named = || users.iter().zip(&names);
    text.extend(named().map(|(user, name)| format!("\n{}", user_lines(standin, user, name))));
    let Some((user, name)) = named().find(|(user, _)| user.enabled) else {
        return text + "\n# no user of the pool is enabled, so there are no calls to paste\n";
    };
    if let Some((first, _)) = replicas.first() {
        text.push_str(&format!("\n{}", example_calls(first, user, name)));
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
    let token = standin.access_token(&user.username).unwrap_or_default();
    format!("# {}, {}{disabled}, sub {}\nexport {name}_TOKEN={token}\n", user.username, user.status, user.sub)
}

fn example_calls(listen: &ListenAddress, user: &User, name: &str) -> String {
    let method = "userlookup.v1.UserService/GetUser";
    format!(
        "# by access token: the token's user, with the attributes that its app client may read
grpcurl -plaintext -H \"authorization: Bearer ${name}_TOKEN\" {listen} {method}

# by sub, from this machine
grpcurl -plaintext -d '{{\"sub\": \"{sub}\"}}' {listen} {method}

# without grpcurl
COGNITO_LOOKUP_TOKEN=${name}_TOKEN {program} get --address http://{listen}

# in another terminal: print which users change
{program} watch --address http://{listen}
",
        program = program(),
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
{program} expire --address http://{first} {sub}
grpcurl -plaintext -d '{{\"sub\": \"{sub}\"}}' {first} {method}
grpcurl -plaintext -d '{{\"sub\": \"{sub}\"}}' {second} {method}
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
    let mut taken = HashSet::new();
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

#[cfg(test)]
mod tests {
    use cognito_standin::Pool;

    use super::*;

    #[test]
    fn no_two_users_share_a_variable() {
        let text =
            banner(r#"[{"username": "a.b"}, {"username": "a-b"}, {"username": "a_b_2"}, {"username": "1"}]"#);
        let names: Vec<&str> =
            text.lines().filter_map(|line| Some(line.strip_prefix("export ")?.split_once('=')?.0)).collect();
        assert_eq!(names, ["A_B_TOKEN", "A_B_2_TOKEN", "A_B_2_2_TOKEN", "_1_TOKEN"]);
    }

    #[test]
    fn the_calls_carry_the_token_of_the_first_enabled_user() {
        let text = banner(r#"[{"username": "a.b", "enabled": false}, {"username": "a-b"}]"#);
        assert!(text.contains("authorization: Bearer $A_B_2_TOKEN"), "{text}");
        assert!(!text.contains(NO_CALLS), "{text}");
    }

    #[test]
    fn without_an_enabled_user_the_banner_says_why_there_are_no_calls() {
        for users in ["[]", r#"[{"username": "eve", "enabled": false}]"#] {
            let text = banner(users);
            assert!(text.ends_with(&format!("\n{NO_CALLS}\n")), "{text}");
            assert!(!text.contains("grpcurl"), "{text}");
        }
    }

    #[test]
    fn the_calls_show_events_where_replicas_get_them() {
        let users = r#"[{"username": "a"}]"#;
        let url = Some("redis://127.0.0.1:6379");
        for (replicas, shared_cache, has_events) in [(1, None, true), (2, url, true), (2, None, false)] {
            let text = banner_of(users, replicas, shared_cache);
            assert_eq!(text.contains("admin-user-global-sign-out"), has_events, "{text}");
            assert_eq!(text.contains("max_age"), !has_events, "{text}");
        }
    }

    #[test]
    fn several_replicas_are_listed_with_what_they_share() {
        let users = r#"[{"username": "a"}]"#;
        let (url, shared) = ("redis://127.0.0.1:6379", "SOURCE_SHARED_CACHE");
        for (replicas, shared_cache, expected, others) in [
            (1, None, &["127.0.0.1:50051 (plain"][..], &["replica", "Shared cache", shared][..]),
            (1, Some(url), &[url, "with keys of this process"], &["replica 1", shared]),
            (2, None, &["127.0.0.1:50052 of replica 2", "http://127.0.0.1:9091/", "none: each"], &[shared]),
            (2, Some(url), &["127.0.0.1:50051 of replica 1", url, shared, "127.0.0.1:50052 user"], &["none"]),
        ] {
            let text = banner_of(users, replicas, shared_cache);
            for expected in expected {
                assert!(text.contains(expected), "{expected}: {text}");
            }
            for other in others {
                assert!(!text.contains(other), "{other}: {text}");
            }
        }
        assert!(!banner_of("[]", 2, Some(url)).contains(shared), "there is nobody to look up");
    }

    fn banner(users: &str) -> String {
        banner_of(users, 1, None)
    }

    fn banner_of(users: &str, replicas: u16, shared_cache: Option<&str>) -> String {
        let pool = Pool::from_json(&format!(r#"{{"users": {users}}}"#)).unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let replica = |n| (ListenAddress::Tcp(address(50051 + n)), address(9090 + n));
        let replicas: Vec<_> = (0..replicas).map(replica).collect();
        text(&StandIn::start(pool).unwrap(), &replicas, shared_cache)
    }

    const NO_CALLS: &str = "# no user of the pool is enabled, so there are no calls to paste";
}
