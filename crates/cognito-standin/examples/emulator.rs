//! Serves the sandbox's pool on a free port until standard input ends, for tests in other languages.
//!
//! Prints one JSON object: `endpoint`, `queue_url`, `pool_id` and an access token of `ada`.

use std::io::{self, Read as _, Write as _};

use cognito_standin::{Pool, StandIn};
use serde_json::json;

fn main() -> io::Result<()> {
    let cognito = StandIn::start(Pool::sandbox())?;
    let started = json!({
        "endpoint": cognito.endpoint_url(),
        "queue_url": cognito.queue_url(),
        "pool_id": cognito.pool_id(),
        "token": cognito.access_token("ada"),
    });
    writeln!(io::stdout(), "{started}")?;
    io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}
