//! Keeps a copy of one user fresh with WatchUsers: `cargo run -p cognito-lookup-example --bin watch HOST:PORT SUB`
//!
//! It prints the user whenever its copy changes. The caller's rule needs `watch = true`.
//! `UserMirror` follows the recipe of docs/watch.md.

use std::{env, error::Error, time::Duration};

use cognito_lookup_client::{MirrorOptions, UserMirror, user_service_client::UserServiceClient};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (target, sub) = arguments.next().zip(arguments.next()).ok_or("expected HOST:PORT and SUB")?;
    // Beyond this machine, add `tls_config`, because the channel carries tokens.
    let client = UserServiceClient::connect(format!("http://{target}")).await?;
    let users = UserMirror::new(client, MirrorOptions::default());
    tokio::spawn(users.clone().watch());
    let mut shown = String::new();
    loop {
        let reply = users.get(&sub).await?;
        let named = |name| reply.user.as_ref().and_then(|user| user.attributes.get(name));
        let [name, email] = ["name", "email"].map(|attribute| named(attribute).map_or("", String::as_str));
        let line = format!("{name} <{email}>");
        if line != shown {
            println!("{line}");
        }
        shown = line;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
