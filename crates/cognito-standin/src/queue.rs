//! The queue that the change events arrive in.

mod messages;

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use self::messages::Messages;
pub(super) use self::messages::{Message, MessageCounts};
use super::lock::lock;

/// A standard queue. Receivers on other tasks wait for its messages.
#[derive(Default)]
pub(super) struct Queue {
    messages: Mutex<Messages>,
    sent: Notify,
}

/// What a receiver asks for.
pub(super) struct Receive {
    /// How many messages at most.
    pub(super) most: usize,
    /// How long to wait for the first message.
    pub(super) wait: Duration,
    /// How long the received messages are hidden from other receivers.
    pub(super) visibility_timeout: Duration,
}

impl Queue {
    /// Sends a message and returns its id. Receivers get it after `delay`.
    pub(super) fn send(&self, body: String, delay: Duration) -> String {
        self.send_to(usize::MAX, body, delay)
    }

    /// As [`send`](Self::send), but to a place in the order of receives that `place` chooses from
    /// the number of messages.
    pub(super) fn send_shuffled(&self, body: String, delay: Duration, place: impl FnOnce(usize) -> usize) {
        let at = place(self.messages().len());
        self.send_to(at, body, delay);
    }

    /// Returns how many messages are left, in whatever state.
    pub(super) fn len(&self) -> usize {
        self.messages().len()
    }

    /// Waits for the first message or the end of the wait. Cancel safe: a receiver that leaves
    /// early gets no message.
    pub(super) async fn receive(&self, request: &Receive) -> Vec<Message> {
        let deadline = Instant::now() + request.wait;
        loop {
            let mut sent = pin!(self.sent.notified());
            // A message that arrives after the look at the queue must end the wait.
            sent.as_mut().enable();
            let now = Instant::now();
            let received = self.messages().receive(request.most, now, now + request.visibility_timeout);
            if !received.is_empty() || now >= deadline {
                return received;
            }
            let next = self.messages().next_visible(now).map_or(deadline, |at| at.min(deadline));
            // Both ends of the wait lead to another look.
            let _ = timeout_at(next, sent).await;
        }
    }

    /// Deletes a message. Returns `None` if `receipt` is no receipt handle.
    pub(super) fn delete(&self, receipt: &str) -> Option<()> {
        self.messages().delete(receipt)
    }

    /// Hides a received message for this time from now. Returns `None` if there is no such message.
    pub(super) fn hide(&self, receipt: &str, time: Duration) -> Option<()> {
        let hidden = self.messages().hide(receipt, Instant::now() + time);
        self.sent.notify_waiters();
        hidden
    }

    pub(super) fn counts(&self) -> MessageCounts {
        self.messages().counts(Instant::now())
    }

    pub(super) fn purge(&self) {
        self.messages().clear();
    }

    fn send_to(&self, at: usize, body: String, delay: Duration) -> String {
        // Without a delay the message has no time at all, because a test with a paused clock may
        // send one from its own thread.
        let hidden_until = (!delay.is_zero()).then(|| Instant::now() + delay);
        let id = self.messages().send(body, hidden_until, at);
        self.sent.notify_waiters();
        id
    }

    fn messages(&self) -> MutexGuard<'_, Messages> {
        lock(&self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Receive =
        Receive { most: 10, wait: Duration::from_secs(20), visibility_timeout: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn a_receiver_waits_for_a_message_but_not_longer_than_it_asks() {
        let queue = Queue::default();
        let started = Instant::now();
        assert!(queue.receive(&REQUEST).await.is_empty());
        assert_eq!(started.elapsed(), REQUEST.wait);
        queue.send("late".to_owned(), Duration::from_secs(5));
        let (received, ()) = tokio::join!(queue.receive(&REQUEST), async {
            queue.send("now".to_owned(), Duration::ZERO);
        });
        assert_eq!(received.len(), 1);
        assert_eq!(queue.receive(&REQUEST).await.remove(0).body, "late");
        assert_eq!(started.elapsed(), REQUEST.wait + Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_returns_after_its_visibility_timeout() {
        let queue = Queue::default();
        queue.send("a".to_owned(), Duration::ZERO);
        let receipt = queue.receive(&REQUEST).await.remove(0).receipt();
        assert_eq!(queue.counts().in_flight, 1);
        assert!(queue.receive(&REQUEST).await.is_empty(), "hidden for 30 s, and the wait ends after 20 s");
        assert_eq!(queue.receive(&REQUEST).await.len(), 1);
        queue.hide(&receipt, Duration::ZERO).expect("a message");
        assert_eq!(queue.receive(&Receive { wait: Duration::ZERO, ..REQUEST }).await.len(), 1);
        queue.delete(&receipt).expect("a receipt handle");
        assert_eq!(queue.len(), 0);
    }
}
