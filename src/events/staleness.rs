//! Notices that the queue is not read any more. The service stays ready: the TTL bounds the age of
//! every answer.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::warn;

use crate::telemetry::metrics::events::EventMetrics;

/// Sets the gauge and warns while no receive has succeeded for `after`, and warns again after each
/// further time. `polled` is when the last one did. Ends when its sender is dropped.
pub(super) async fn watch_staleness(
    after: Duration,
    mut polled: watch::Receiver<Instant>,
    metrics: EventMetrics,
) {
    let mut last = *polled.borrow_and_update();
    let mut due = last + after;
    loop {
        match timeout_at(due, polled.changed()).await {
            Ok(Ok(())) => {
                metrics.set_stale(false);
                last = *polled.borrow_and_update();
                due = last + after;
            }
            Ok(Err(_)) => return,
            Err(_) => {
                metrics.set_stale(true);
                let seconds = last.elapsed().as_secs();
                warn!(
                    seconds,
                    "no receive at the queue of changes has succeeded; changes arrive by the TTL only"
                );
                due += after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{join, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_stale_from_the_time_without_a_receive_until_the_next_one() {
        let (metrics, after) = (EventMetrics::default(), Duration::from_secs(600));
        let (polled, receiver) = watch::channel(Instant::now());
        let script = async {
            let mut seen = Vec::new();
            for (pause, is_polled) in [(599, true), (599, false), (2, false), (1_300, true), (1, false)] {
                sleep(Duration::from_secs(pause)).await;
                if is_polled {
                    polled.send_replace(Instant::now());
                    sleep(Duration::from_millis(1)).await;
                }
                seen.push(metrics.is_stale());
            }
            drop(polled);
            seen
        };
        let ((), seen) = join!(watch_staleness(after, receiver, metrics.clone()), script);
        assert_eq!(seen, [false, false, true, false, false]);
    }
}
