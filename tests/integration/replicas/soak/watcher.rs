use std::{
    collections::BTreeMap,
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
            }
            sleep(Duration::from_millis(self.random.u64(50..500))).await;
        }
    }

    /// Reads a stream until the replica ends it, or for 0.5 to 10 s.
    async fn watch(&mut self, replica: usize) -> Result<Infallible, Status> {
        let kinds = vec![ChangeKind::SignedOut.into()];
        let resume_token = self.token.clone();
        let request = WatchUsersRequest { resume_token, kinds, ..WatchUsersRequest::default() };
        let mut watch = Watch::open(&self.fleet.replicas[replica].channel, request).await?;
        // Without a resume token, the stream begins at the present.
        if self.token.is_empty() {
            self.book.missed(self.number);
        }
        let some_users = (0..TOKENS).map(|_| self.random.usize(..USERS));
        let token = |user| (user, self.fleet.cognito.access_token(&format!("member-{user}")).unwrap());
        let tokens: BTreeMap<_, _> = some_users.map(token).collect();
        let minted = SystemTime::now();
        let moves = sleep(Duration::from_millis(self.random.u64(500..10_000)));
        tokio::pin!(moves);
        loop {
            let change = tokio::select! {
                change = watch.next_change() => change,
                () = &mut moves => Err(Status::cancelled("it moves")),
            };
            // That of a checkpoint resumes the stream, too.
            self.token.clone_from(&watch.token);
            let change = change?;
            let until = SystemTime::try_from(change.tokens_issued_until.unwrap()).unwrap();
            // `faults::recovered` revokes another user, which the book does not have.
            let Some(user) = (0..USERS).find(|user| sub(*user) == change.sub) else { continue };
            self.book.heard(user, self.number, replica, until);
            if let Some(token) = tokens.get(&user).filter(|_| until > minted) {
                let answer = self.fleet.replicas[replica].get_by_token(token).await;
                assert!(answer.is_err(), "the token of a sign-out that was heard of is accepted");
                self.tally.count("read by token after a sign-out", &answer);
            }
        }
    }
}

/// Of so many users it has a token from when it opened the stream.
const TOKENS: usize = 30;
