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
use tonic::{Status, body::Body};

/// The answers of one connection that are ready and not taken; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    /// How often one was taken.
    taken: AtomicUsize,
}

impl Unread {
    /// Returns `body`, watched.
    pub(super) fn answer(&self, body: Body) -> Answer {
        let mut answer = Answer { body, unread: self.clone(), waits: false };
        answer.waits(true);
        answer
    }

    /// Returns when answers have waited and none was taken for `patience`, or for up to twice as long. Cancel safe.
    pub(super) async fn stalled(&self, patience: Duration) {
        let mut last = None;
        loop {
            sleep(patience).await;
            let taken = self.0.taken.load(Relaxed);
            let waiting = self.0.waiting.load(Relaxed) > 0;
            if waiting && last == Some(taken) {
                return;
            }
            last = waiting.then_some(taken);
        }
    }
}

/// The body of an answer. hyper asks it for a frame only when the client has room for one: from a frame to the next
/// question it waits for the client, from a question to the next frame for us.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    unread: Unread,
    waits: bool,
}

impl Answer {
    fn waits(&mut self, waits: bool) {
        let counts = &self.unread.0;
        match (self.waits, waits) {
            (false, true) => counts.waiting.fetch_add(1, Relaxed),
            (true, false) => {
                counts.taken.fetch_add(1, Relaxed);
                counts.waiting.fetch_sub(1, Relaxed)
            }
            _ => return,
        };
        self.waits = waits;
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.waits(false);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.waits(frame.is_some());
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
        self.waits(false);
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::{BodyExt as _, Empty, Full};
    use tokio::time::Instant;

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
        assert_eq!(unread.0.waiting.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_nothing_yet_waits_for_us() {
        let unread = Unread::default();
        let (_frames, frames) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Status>>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(frames);
        let mut watch = unread.answer(Body::new(http_body_util::StreamBody::new(stream)));
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
        assert!(unread.answer(Body::new(Empty::<Bytes>::new())).is_end_stream());
        assert_eq!(unread.0.waiting.load(Relaxed), 0);
    }

    fn full() -> Body {
        Body::new(Full::new(Bytes::from_static(b"answer")))
    }
}
