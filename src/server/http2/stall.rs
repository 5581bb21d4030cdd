//! The answers of one connection that its client takes no bytes of. HTTP/2 lets a client close its window, and hyper
//! then holds the answer for as long as the connection lasts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::sleep;
use tonic::Status;

use crate::service::ResponseBody;

/// The answers of one connection that are ready and not taken; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct StallMonitor(Arc<Periods>);

/// Time is told in periods, so that an answer costs no look at a clock.
#[derive(Debug, Default)]
struct Periods {
    /// The period it is.
    current: AtomicUsize,
    /// How many wait that began to in an even period, and in an odd one.
    waiting: [AtomicUsize; 2],
}

impl Periods {
    fn of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.waiting;
        if period.is_multiple_of(2) { even } else { odd }
    }
}

impl StallMonitor {
    /// Returns `body`, monitored.
    pub(super) fn monitor(&self, body: ResponseBody) -> MonitoredBody {
        let mut answer = MonitoredBody { body, monitor: self.clone(), waiting_since: None };
        answer.start_waiting();
        answer
    }

    /// Returns when an answer has waited for `timeout`, or for up to twice as long, whatever becomes of the others.
    /// Cancel safe.
    pub(super) async fn stalled(&self, timeout: Duration) {
        let Periods { current, .. } = &*self.0;
        loop {
            sleep(timeout).await;
            let ending = current.load(Relaxed);
            // Those who began in the period before have waited for all of this one.
            if self.0.of(ending.wrapping_sub(1)).load(Relaxed) > 0 {
                return;
            }
            current.store(ending.wrapping_add(1), Relaxed);
        }
    }
}

/// The body of an answer. hyper holds a frame until the client has room for some of it, and only then asks for the next:
/// from a frame to the next question an answer waits for the client, from a question to the next frame for us.
#[derive(Debug)]
pub(super) struct MonitoredBody {
    body: ResponseBody,
    monitor: StallMonitor,
    waiting_since: Option<usize>,
}

impl MonitoredBody {
    fn start_waiting(&mut self) {
        let periods = &self.monitor.0;
        let period = periods.current.load(Relaxed);
        periods.of(period).fetch_add(1, Relaxed);
        self.waiting_since = Some(period);
    }

    fn stop_waiting(&mut self) {
        if let Some(period) = self.waiting_since.take() {
            self.monitor.0.of(period).fetch_sub(1, Relaxed);
        }
    }
}

impl http_body::Body for MonitoredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.stop_waiting();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_some() {
            self.start_waiting();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for MonitoredBody {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;
    use tonic::body::Body;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_a_stall() {
        let monitor = StallMonitor::default();
        let begun = Instant::now();
        let _answer = monitor.monitor(full());
        monitor.stalled(TIMEOUT).await;
        assert_eq!(begun.elapsed(), 2 * TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_taken_are_none() {
        let monitor = StallMonitor::default();
        let taking = async {
            // There is always one that waits, and there is never the same.
            let mut waiting = monitor.monitor(full());
            for _ in 0..20 {
                sleep(TIMEOUT / 2).await;
                let next = monitor.monitor(full());
                waiting.frame().await.unwrap().unwrap();
                drop(std::mem::replace(&mut waiting, next));
            }
        };
        tokio::select! {
            () = monitor.stalled(TIMEOUT) => panic!("stalled"),
            () = taking => {}
        }
        assert_eq!(monitor.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_nothing_yet_waits_for_us() {
        let monitor = StallMonitor::default();
        let (_frames, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
        let mut watch =
            monitor.monitor(ResponseBody::Other(Body::new(http_body_util::StreamBody::new(stream))));
        tokio::select! {
            _ = watch.frame() => panic!("there is no frame"),
            () = monitor.stalled(TIMEOUT) => panic!("stalled"),
            () = sleep(10 * TIMEOUT) => {}
        }
    }

    #[tokio::test]
    async fn an_answer_is_what_it_was() {
        let monitor = StallMonitor::default();
        let taken = monitor.monitor(full()).collect().await.unwrap().to_bytes();
        assert_eq!(&taken[..], b"answer");
        assert!(monitor.monitor(ResponseBody::Ended).is_end_stream());
        assert_eq!(monitor.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_takes_is_a_stall_among_others_that_are_taken() {
        let monitor = StallMonitor::default();
        let _forgotten = monitor.monitor(full());
        let taking = async {
            loop {
                sleep(TIMEOUT / 4).await;
                monitor.monitor(full()).collect().await.unwrap();
            }
        };
        tokio::select! {
            () = monitor.stalled(TIMEOUT) => {}
            () = taking => {}
            () = sleep(3 * TIMEOUT) => panic!("not noticed"),
        }
    }

    impl StallMonitor {
        fn waiting(&self) -> usize {
            self.0.waiting.iter().map(|waiting| waiting.load(Relaxed)).sum()
        }
    }

    fn full() -> ResponseBody {
        ResponseBody::Message(Bytes::from_static(b"answer"))
    }
}
