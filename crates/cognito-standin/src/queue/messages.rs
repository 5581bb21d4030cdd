//! The messages of a standard queue. Every time-dependent call takes the current time.

use std::time::SystemTime;

use tokio::time::Instant;
use uuid::Uuid;

/// The messages that nobody has deleted.
#[derive(Default)]
pub(super) struct Messages {
    messages: Vec<Message>,
}

/// One message.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) sent_at: SystemTime,
    pub(crate) first_received_at: Option<SystemTime>,
    /// How often it was received.
    pub(crate) receives: u32,
    /// Hidden from receivers until then. `None`: visible.
    hidden_until: Option<Instant>,
}

/// How many messages are in which state.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct MessageCounts {
    pub(crate) visible: usize,
    /// Received and not deleted, before the end of their visibility timeout.
    pub(crate) in_flight: usize,
    /// Sent with a delay that has not passed.
    pub(crate) delayed: usize,
}

impl Message {
    /// The receipt handle of the last receive.
    pub(crate) fn receipt(&self) -> String {
        format!("{}{SEPARATOR}{}", self.id, self.receives)
    }

    fn is_visible(&self, now: Instant) -> bool {
        self.hidden_until.is_none_or(|until| until <= now)
    }
}

impl Messages {
    /// Adds a message that is hidden until `hidden_until`, and returns its id. `at` is its place in
    /// the order of receives; a place past the end means the end.
    pub(super) fn send(&mut self, body: String, hidden_until: Option<Instant>, at: usize) -> String {
        let id = Uuid::new_v4().to_string();
        let message = Message {
            id: id.clone(),
            body,
            sent_at: SystemTime::now(),
            first_received_at: None,
            receives: 0,
            hidden_until,
        };
        self.messages.insert(at.min(self.messages.len()), message);
        id
    }

    /// Returns up to `most` visible messages and hides them until `hidden_until`.
    pub(super) fn receive(&mut self, most: usize, now: Instant, hidden_until: Instant) -> Vec<Message> {
        let visible = self.messages.iter_mut().filter(|message| message.is_visible(now));
        let received = visible.take(most).map(|message| {
            message.receives += 1;
            message.first_received_at.get_or_insert_with(SystemTime::now);
            message.hidden_until = Some(hidden_until);
            message.clone()
        });
        received.collect()
    }

    /// Deletes the message of a receipt handle. Deleting it twice succeeds. Returns `None` if the
    /// text is no receipt handle.
    pub(super) fn delete(&mut self, receipt: &str) -> Option<()> {
        let id = message_id(receipt)?;
        self.messages.retain(|message| message.id != id);
        Some(())
    }

    /// Hides a received message until `hidden_until`. Returns `None` if there is no such message.
    pub(super) fn hide(&mut self, receipt: &str, hidden_until: Instant) -> Option<()> {
        let id = message_id(receipt)?;
        let message = self.messages.iter_mut().find(|message| message.id == id)?;
        message.hidden_until = Some(hidden_until);
        Some(())
    }

    /// Returns when the next hidden message becomes visible.
    pub(super) fn next_visible(&self, now: Instant) -> Option<Instant> {
        self.messages.iter().filter_map(|message| message.hidden_until).filter(|until| *until > now).min()
    }

    pub(super) fn counts(&self, now: Instant) -> MessageCounts {
        let mut counts = MessageCounts { visible: 0, in_flight: 0, delayed: 0 };
        for message in &self.messages {
            *(match (message.is_visible(now), message.receives) {
                (true, _) => &mut counts.visible,
                (false, 0) => &mut counts.delayed,
                (false, _) => &mut counts.in_flight,
            }) += 1;
        }
        counts
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }
}

fn message_id(receipt: &str) -> Option<&str> {
    let (id, receives) = receipt.split_once(SEPARATOR)?;
    receives.parse::<u32>().ok().map(|_| id)
}

const SEPARATOR: char = '#';

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HIDDEN: Duration = Duration::from_secs(30);

    fn receive(messages: &mut Messages, most: usize, now: Instant) -> Vec<Message> {
        messages.receive(most, now, now + HIDDEN)
    }

    fn bodies(received: &[Message]) -> Vec<&str> {
        received.iter().map(|message| message.body.as_str()).collect()
    }

    fn sent(texts: &[&str]) -> Messages {
        let mut messages = Messages::default();
        for text in texts {
            messages.send((*text).to_owned(), None, usize::MAX);
        }
        messages
    }

    #[test]
    fn a_received_message_is_hidden_for_the_visibility_timeout() {
        let (mut messages, now) = (sent(&["a", "b", "c"]), Instant::now());
        assert_eq!(bodies(&receive(&mut messages, 2, now)), ["a", "b"]);
        assert_eq!(bodies(&receive(&mut messages, 2, now)), ["c"]);
        assert!(receive(&mut messages, 2, now + HIDDEN / 2).is_empty());
        assert_eq!(messages.next_visible(now), Some(now + HIDDEN));
        let again = receive(&mut messages, 10, now + HIDDEN);
        assert_eq!(bodies(&again), ["a", "b", "c"]);
        assert!(again.iter().all(|message| message.receives == 2 && message.first_received_at.is_some()));
    }

    #[test]
    fn any_receipt_of_a_message_deletes_it() {
        let (mut messages, now) = (sent(&["a", "b"]), Instant::now());
        let first = receive(&mut messages, 1, now).remove(0).receipt();
        receive(&mut messages, 10, now + HIDDEN);
        for receipt in [first.as_str(), &first] {
            assert_eq!(messages.delete(receipt), Some(()));
        }
        assert_eq!(bodies(&receive(&mut messages, 10, now + 2 * HIDDEN)), ["b"]);
        for invalid in ["", "a", "a#", "a#b"] {
            assert_eq!((messages.delete(invalid), messages.hide(invalid, now)), (None, None), "{invalid}");
        }
        assert_eq!(messages.hide(&first, now), None, "deleted");
    }

    #[test]
    fn counts_tell_delayed_from_received_messages() {
        let (mut messages, now) = (sent(&["a", "b"]), Instant::now());
        messages.send("c".to_owned(), Some(now + HIDDEN), usize::MAX);
        let receipt = receive(&mut messages, 1, now).remove(0).receipt();
        assert_eq!(messages.counts(now), MessageCounts { visible: 1, in_flight: 1, delayed: 1 });
        messages.hide(&receipt, now).expect("a message");
        assert_eq!(messages.counts(now), MessageCounts { visible: 2, in_flight: 0, delayed: 1 });
        assert_eq!(messages.counts(now + HIDDEN), MessageCounts { visible: 3, in_flight: 0, delayed: 0 });
    }

    #[test]
    fn a_message_can_be_sent_to_any_place() {
        let mut messages = sent(&["a", "b"]);
        messages.send("first".to_owned(), None, 0);
        messages.send("last".to_owned(), None, 9);
        assert_eq!(bodies(&receive(&mut messages, 10, Instant::now())), ["first", "a", "b", "last"]);
    }
}
