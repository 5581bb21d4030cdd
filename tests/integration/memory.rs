use cognito_lookup::proto::user_service_client::UserServiceClient;
use cognito_standin::User;
use tokio::task::JoinSet;

use crate::{
    support::process::Process,
    support::{about, connect, metric, standin},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `cargo test --test integration memory -- --ignored --nocapture`"]
async fn a_cache_full_of_the_largest_users_fits_into_512_mib() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 2\n[budget]\nuser_reads_per_second = 100000";
    let process = Process::serve(&cognito, settings);
    let channel = connect(process.address.parse().unwrap()).await;
    let (mut asking, mut asked) = (JoinSet::new(), 0);
    while asked < USERS {
        // The largest user that Cognito allows: 50 custom and 20 standard attributes of 2,048
        // characters each.
        let mut person = User::local(format!("large-{asked}"), "x");
        person.attributes = (0..70).map(|n| (format!("custom:a{n}"), "v".repeat(2048))).collect();
        let (mut users, sub) = (UserServiceClient::new(channel.clone()), person.sub.clone());
        cognito.put_user(person);
        asking.spawn(async move { users.get_user(about(&sub)).await.is_ok() });
        asked += 1;
        if asking.len() == 8 {
            assert_eq!(asking.join_next().await.unwrap().ok(), Some(true));
        }
    }
    assert!(asking.join_all().await.into_iter().all(|is_ok| is_ok));
    let held = metric(process.admin, "cognito_lookup_cache_entries{store=\"Users\"}").await;
    let taken = process.resident();
    println!(
        "2,400 users of 140 KB before a process with 256 MiB for them: {held} held, {} MiB resident",
        taken >> 20
    );
    assert!(held > 1500.0);
    // Four fifths of a container's 512 MiB.
    assert!(taken <= 410 << 20, "{taken} bytes");
}

const USERS: usize = 2400;
