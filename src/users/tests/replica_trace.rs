//! How many calls of Cognito replicas need together.

use tokio::time::sleep;

use super::{super::*, lab::Lab, replicas::Fleet};

/// In five minutes, a user that is asked for often is refreshed ten times.
#[tokio::test(start_paused = true)]
async fn replicas_make_hardly_more_calls_than_one() {
    let alone = Lab::start(|_, _| {});
    replay(&[&alone]).await;
    let fleet = Fleet::start(3).await;
    replay(&fleet.labs.iter().collect::<Vec<_>>()).await;
    let (one, three) = (alone.calls(), fleet.lab(0).calls());
    assert!(one > 200, "only {one} calls");
    assert!(three * 100 <= one * 105, "three replicas made {three} calls, and one made {one}");
    // The control: without the shared cache, each has all users to itself.
    let apart = [(); 3].map(|()| Lab::start(|_, _| {}));
    replay(&apart.each_ref()).await;
    let apart: usize = apart.iter().map(Lab::calls).sum();
    assert!(apart * 100 > one * 130, "apart they made {apart} calls, and one made {one}");
}

/// Replays five minutes of 6 requests a second, each to a replica at random.
async fn replay(labs: &[&Lab]) {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..1_800 {
        // Log-uniform, so the probability of a rank is inversely proportional to it: Zipf with
        // exponent 1.
        let rank = USERS.powf(random.f64()).floor();
        labs[random.usize(..labs.len())].ask(&format!("user-{rank}")).await.unwrap();
        sleep(Duration::from_secs(1) / 6).await;
    }
}

const USERS: f64 = 60.0;
