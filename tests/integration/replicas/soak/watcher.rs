use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use cognito_lookup::proto::{ChangeKind, WatchUsersRequest};
use tokio::time::sleep;
use tonic::{Code, Status};

use super::{
    book::{Book, REPLICAS, USERS},
    tally::Tally,
};
use crate::{
    replicas::fleet::{Fleet, sub},
    watch::Watch,
};

/// A client that hears of sign-outs, and moves from replica to replica.
pub(super) struct Watcher<'a> {
    number: usize,
    fleet: &'a Fleet,
    book: &'a Book,
    tally: &'a Tally,
    random: fastrand::Rng,
    token: String,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        number: usize,
        fleet: &'a Fleet,
        book: &'a Book,
        tally: &'a Tally,
        random: fastrand::Rng,
    ) -> Self {
        Self { number, fleet, book, tally, random, token: String::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let replica = self.random.usize(..REPLICAS);
            let Err(status) = self.watch(replica).await;
            self.tally.count::<()>("watch", &Err(status.clone()));
            if status.code() == Code::OutOfRange {
                self.token.clear();
                self.book.missed(self.number);
            }
            sleep(Duration::from_millis(self.random.u64(50..500))).await;
        }
    }

    /// Listens at a replica until it ends the stream, or for some seconds.
    async fn watch(&mut self, replica: usize) -> Result<Infallible, Status> {
        let kinds = vec![ChangeKind::SignedOut.into()];
        let resume_token = self.token.clone();
        let request = WatchUsersRequest { resume_token, kinds, ..WatchUsersRequest::default() };
        let mut watch = Watch::open(&self.fleet.replicas[replica].channel, request).await?;
        // One that begins without a token hears of what comes from now on.
        if self.token.is_empty() {
            self.book.missed(self.number);
        }
        let moves = sleep(Duration::from_millis(self.random.u64(500..10_000)));
        tokio::pin!(moves);
        loop {
            let change = tokio::select! {
                change = watch.next_change() => change,
                () = &mut moves => Err(Status::cancelled("it moves")),
            };
            // Also that of a checkpoint.
            self.token.clone_from(&watch.token);
            let change = change?;
            let until = SystemTime::try_from(change.tokens_issued_until.unwrap()).unwrap();
            // The probe's user is not in the book.
            if let Some(user) = (0..USERS).find(|user| sub(*user) == change.sub) {
                self.book.heard(user, self.number, replica, until);
            }
        }
    }
}
