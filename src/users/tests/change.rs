//! Changes at Cognito, and how soon they are seen.

use tokio::time::sleep;

use super::{
    super::{
        cognito::fixtures::{Reply, Request},
        *,
    },
    lab::{Lab, NEAR},
};

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_the_ttl() {
    let lab = Lab::start(|_, _| {});
    type Change = fn(&Request) -> (Duration, Reply);
    let changes: [(&str, Change); 3] = [
        ("deleted", |_| (NEAR, Lab::error("UserNotFoundException"))),
        ("disabled", |request| (NEAR, Lab::user(request, false, None))),
        ("edited", |request| (NEAR, Lab::user(request, true, Some("new")))),
    ];
    for (change, reply) in changes {
        lab.respond(Lab::found);
        lab.ask(change).await.unwrap();
        lab.respond(reply);
        let changed = Instant::now();
        let seen = |answer: Result<Found, Failure>| match answer {
            Err(failure) => failure == Failure::NoSuchUser,
            Ok(found) => !found.user().enabled || found.user().attributes.get("custom:plan").is_some(),
        };
        while !seen(lab.ask(change).await) {
            sleep(Duration::from_millis(100)).await;
        }
        // Half of 60 s, jitter of 10 %, and the refresh.
        assert!(changed.elapsed() <= Duration::from_millis(33_500), "{change}: {:?}", changed.elapsed());
        // An outage afterwards does not bring the old state back.
        lab.respond(|_| (NEAR, Reply::Reset));
        for _ in 0..100 {
            let answer = lab.ask(change).await;
            assert!(seen(answer) || change == "deleted", "{change}");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_federated_user_is_refreshed_by_name_and_does_not_flap() {
    let lab = Lab::start(|_, _| {});
    // Cognito finds a federated user by name only.
    lab.respond(|request| match request.input["Username"].as_str() {
        Some("Google_1") => (NEAR, Lab::found_as("Google_1", "grace")),
        _ => (NEAR, Lab::error("UserNotFoundException")),
    });
    let token = LookupKey::Username("Google_1".parse().unwrap());
    lab.ask_known("grace", token).await.unwrap();
    for _ in 0..100 {
        assert!(lab.ask("grace").await.is_ok());
        sleep(Duration::from_secs(10)).await;
    }
}
