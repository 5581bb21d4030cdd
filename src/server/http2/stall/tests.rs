use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::body::Body;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_a_stall() {
    let monitor = StallMonitor::default();
    let begun = Instant::now();
    let _answer = monitor.monitor(full());
    monitor.stalled(TIMEOUT).await;
    assert_eq!(begun.elapsed(), 2 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_read_are_no_stall() {
    let monitor = StallMonitor::default();
    let reading = async {
        // One response always waits, but none of them for long.
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
        () = reading => {}
    }
    assert_eq!(monitor.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_frame_does_not_wait_for_the_client() {
    let monitor = StallMonitor::default();
    let (_frames, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
    let mut watch = monitor.monitor(ResponseBody::Other(Body::new(http_body_util::StreamBody::new(stream))));
    tokio::select! {
        _ = watch.frame() => panic!("the stream has no frame"),
        () = monitor.stalled(TIMEOUT) => panic!("stalled"),
        () = sleep(10 * TIMEOUT) => {}
    }
}

#[tokio::test]
async fn a_monitored_body_is_unchanged() {
    let monitor = StallMonitor::default();
    let taken = monitor.monitor(full()).collect().await.unwrap().to_bytes();
    assert_eq!(&taken[..], b"answer");
    assert!(monitor.monitor(ResponseBody::Ended).is_end_stream());
    assert_eq!(monitor.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_unread_response_among_others_is_a_stall() {
    let monitor = StallMonitor::default();
    let _forgotten = monitor.monitor(full());
    let reading = async {
        loop {
            sleep(TIMEOUT / 4).await;
            monitor.monitor(full()).collect().await.unwrap();
        }
    };
    tokio::select! {
        () = monitor.stalled(TIMEOUT) => {}
        () = reading => {}
        () = sleep(3 * TIMEOUT) => panic!("no stall was detected"),
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
