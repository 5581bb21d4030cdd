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
pub(super) struct Unread(Arc<Counts>);

/// Time is told in periods, so that an answer costs no look at a clock.
#[derive(Debug, Default)]
struct Counts {
    /// The period it is.
    now: AtomicUsize,
    /// How many wait that began to in an even period, and in an odd one.
    waiting: [AtomicUsize; 2],
}

impl Counts {
    fn of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.waiting;
        if period.is_multiple_of(2) { even } else { odd }
    }
}

impl Unread {
    /// Returns `body`, watched.
    pub(super) fn answer(&self, body: ResponseBody) -> Answer {
        let mut answer = Answer { body, unread: self.clone(), waits_since: None };
        answer.wait();
        answer
    }

    /// Returns when an answer has waited for `patience`, or for up to twice as long, whatever becomes of the others.
    /// Cancel safe.
    pub(super) async fn stalled(&self, patience: Duration) {
        let Counts { now, .. } = &*self.0;
        loop {
            sleep(patience).await;
            let ending = now.load(Relaxed);
            // Those who began in the period before have waited for all of this one.
            if self.0.of(ending.wrapping_sub(1)).load(Relaxed) > 0 {
                return;
            }
            now.store(ending.wrapping_add(1), Relaxed);
        }
    }
}

/// The body of an answer. hyper holds a frame until the client has room for some of it, and only then asks for the next:
/// from a frame to the next question an answer waits for the client, from a question to the next frame for us.
#[derive(Debug)]
pub(super) struct Answer {
    body: ResponseBody,
    unread: Unread,
    waits_since: Option<usize>,
}

impl Answer {
    fn wait(&mut self) {
        let counts = &self.unread.0;
        let period = counts.now.load(Relaxed);
        counts.of(period).fetch_add(1, Relaxed);
        self.waits_since = Some(period);
    }

    fn taken(&mut self) {
        if let Some(period) = self.waits_since.take() {
            self.unread.0.of(period).fetch_sub(1, Relaxed);
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.taken();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_some() {
            self.wait();
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

impl Drop for Answer {
    fn drop(&mut self) {
        self.taken();
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;
    use tonic::body::Body;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_a_stall() {
        let unread = Unread::default();
        let begun = Instant::now();
        let _answer = unread.answer(full());
        unread.stalled(PATIENCE).await;
        assert_eq!(begun.elapsed(), 2 * PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_taken_are_none() {
        let unread = Unread::default();
        let taking = async {
            // There is always one that waits, and there is never the same.
            let mut waiting = unread.answer(full());
            for _ in 0..20 {
                sleep(PATIENCE / 2).await;
                let next = unread.answer(full());
                waiting.frame().await.unwrap().unwrap();
                drop(std::mem::replace(&mut waiting, next));
            }
        };
        tokio::select! {
            () = unread.stalled(PATIENCE) => panic!("stalled"),
            () = taking => {}
        }
        assert_eq!(unread.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_nothing_yet_waits_for_us() {
        let unread = Unread::default();
        let (_frames, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
        let mut watch =
            unread.answer(ResponseBody::Other(Body::new(http_body_util::StreamBody::new(stream))));
        tokio::select! {
            _ = watch.frame() => panic!("there is no frame"),
            () = unread.stalled(PATIENCE) => panic!("stalled"),
            () = sleep(10 * PATIENCE) => {}
        }
    }

    #[tokio::test]
    async fn an_answer_is_what_it_was() {
        let unread = Unread::default();
        let taken = unread.answer(full()).collect().await.unwrap().to_bytes();
        assert_eq!(&taken[..], b"answer");
        assert!(unread.answer(ResponseBody::Ended).is_end_stream());
        assert_eq!(unread.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_takes_is_a_stall_among_others_that_are_taken() {
        let unread = Unread::default();
        let _forgotten = unread.answer(full());
        let taking = async {
            loop {
                sleep(PATIENCE / 4).await;
                unread.answer(full()).collect().await.unwrap();
            }
        };
        tokio::select! {
            () = unread.stalled(PATIENCE) => {}
            () = taking => {}
            () = sleep(3 * PATIENCE) => panic!("not noticed"),
        }
    }

    impl Unread {
        fn waiting(&self) -> usize {
            self.0.waiting.iter().map(|waiting| waiting.load(Relaxed)).sum()
        }
    }

    fn full() -> ResponseBody {
        ResponseBody::Message(Bytes::from_static(b"answer"))
    }
}
