//! Requests to empty the cache of the service in front of the stand-in, which the service serves.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};

/// A request to empty the cache, which is answered once that is done.
#[derive(Debug)]
pub struct Clearing {
    /// The `sub` of each user that may be cached.
    pub subs: BTreeSet<String>,
    answer: oneshot::Sender<Result<(), String>>,
}

impl Clearing {
    /// Answers the request.
    pub fn done(self, result: Result<(), String>) {
        // The one who asked may have left.
        drop(self.answer.send(result));
    }
}

/// The sending side. Without a service behind it every request fails.
#[derive(Clone, Default)]
pub(super) struct Clearings(Option<mpsc::Sender<Clearing>>);

impl Clearings {
    /// Returns both sides of the requests.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Clearing>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(Some(sender)), receiver)
    }

    /// Asks the service to remove these users from its cache, and waits until it has.
    pub(super) async fn request(&self, subs: BTreeSet<String>) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let sender = self.0.as_ref().ok_or(NO_SERVICE)?;
        sender.send(Clearing { subs, answer }).await.map_err(|_| NO_SERVICE.to_owned())?;
        answered.await.map_err(|_| NO_SERVICE.to_owned())?
    }
}

const NO_SERVICE: &str = "no service is connected to this stand-in";
