//! What the sandbox tells a newcomer.

use std::net::SocketAddr;

use super::standin::{Person, StandIn};

/// Returns the banner: a warning, what runs where, each person's token, and calls to paste.
pub(super) fn text(standin: &StandIn, listen: SocketAddr) -> String {
    let people = standin.people();
    let mut text = format!(
        "cognito-lookup sandbox: NOT FOR PRODUCTION, everything in it is made up and gone when it ends

  gRPC             {listen} (plaintext, reflection on)
  Cognito stand-in {cognito} (user pool {pool})
",
        cognito = standin.endpoint_url(),
        pool = standin.pool_id(),
    );
    text.extend(people.iter().map(|person| format!("\n{}", describe(standin, person))));
    let caller = people.iter().find(|person| person.enabled);
    text.extend(
        caller.map(|person| format!("\n{}", calls(standin, listen, person, &shell_name(&person.username)))),
    );
    text
}

fn describe(standin: &StandIn, person: &Person) -> String {
    let disabled = if person.enabled { "" } else { ", disabled" };
    let token = standin.access_token(&person.username).unwrap_or_default();
    let name = shell_name(&person.username);
    format!(
        "# {}, {}{disabled}, sub {}\nexport {name}_TOKEN={token}\n",
        person.username, person.status, person.sub
    )
}

fn calls(standin: &StandIn, listen: SocketAddr, person: &Person, name: &str) -> String {
    let method = "userlookup.v1.UserService/GetUser";
    format!(
        "# by access token: the user it speaks for, as the app client may read it
grpcurl -plaintext -H \"authorization: Bearer ${name}_TOKEN\" {listen} {method}

# by sub, from this machine
grpcurl -plaintext -d '{{\"sub\": \"{sub}\"}}' {listen} {method}

# without grpcurl
COGNITO_LOOKUP_TOKEN=${name}_TOKEN {program} get --address http://{listen}

# change something with the AWS CLI, and see it arrive
AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws cognito-idp admin-update-user-attributes --region {region} \\
  --endpoint-url {cognito} --user-pool-id {pool} --username {username} --user-attributes Name=name,Value=Changed
grpcurl -plaintext -H \"authorization: Bearer ${name}_TOKEN\" -d '{{\"max_age\": \"0s\"}}' {listen} {method}
",
        program = std::env::args().next().as_deref().map_or_else(|| "cognito-lookup".into(), quoted),
        sub = person.sub,
        region = standin.pool_id().split('_').next().unwrap_or_default(),
        cognito = standin.endpoint_url(),
        pool = standin.pool_id(),
        username = quoted(&person.username),
    )
}

/// Quotes a text for a shell, if it needs that.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Makes a shell variable's name of a username.
fn shell_name(username: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = username.chars().map(letter).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}
