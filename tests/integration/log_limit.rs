use cognito_lookup::proto::user_service_client::UserServiceClient;
use cognito_standin::Fault;
use serde_json::Value;
use tokio::time::Instant;
use tonic::Request;

use crate::support::{ADA, about, connect, process::Process, standin, with_token};

/// The lines about failed calls of one reason and caller: how many were written, and how many of
/// them were only counted.
#[derive(Debug, Default)]
struct Lines {
    written: u64,
    left_out: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_write_a_few_lines_a_second_and_one_that_counts_the_rest() {
    const CALLS: u64 = 300;
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[cache]\nfresh_for = \"1s\"");
    let address = process.address.parse().unwrap();
    cognito.inject("AdminGetUser", Fault::AccessDenied);
    let began = Instant::now();
    for _ in 0..CALLS {
        // A connection of many refused calls is cut.
        let mut users = UserServiceClient::new(connect(address).await);
        users.get_user(with_token("not.a.token", about(ADA))).await.unwrap_err();
        users.get_user(Request::new(about(ADA))).await.unwrap_err();
    }
    let seconds = began.elapsed().as_secs() + 1;
    let (mut strangers, mut outage) = (Lines::default(), Lines::default());
    while [&strangers, &outage].iter().any(|lines| lines.written + lines.left_out < CALLS) {
        for line in process.log_until("lines left out of the log") {
            strangers.add(&line, "INFO", "TOKEN_MALFORMED", &Value::Null);
            outage.add(&line, "WARN", "UPSTREAM_UNAVAILABLE", &"sidecar".into());
        }
    }
    for lines in [strangers, outage] {
        assert_eq!(lines.written + lines.left_out, CALLS, "{lines:?}");
        assert!(lines.written >= 5 && lines.written <= 5 * (seconds + 1), "{lines:?} in {seconds} s");
    }
}

impl Lines {
    fn add(&mut self, line: &Value, level: &str, reason: &str, caller: &Value) {
        if line["level"] == level && line["reason"] == reason && line["caller"] == *caller {
            match line["left_out"].as_u64() {
                None => self.written += 1,
                Some(count) => self.left_out += count,
            }
        }
    }
}
