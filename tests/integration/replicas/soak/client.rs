use std::{collections::VecDeque, time::Duration};

use cognito_lookup::proto::{
    GetUserRequest, GetUserResponse, get_user_request::Freshness, user_service_client::UserServiceClient,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::{
    book::{Book, REPLICAS, USERS},
    tally::Tally,
};
use crate::{
    replicas::fleet::{Fleet, sub},
    support::{about, failure, max_age, with_token},
};

/// One client, which does something else every time, and checks the answers.
pub(super) struct Client<'a> {
    fleet: &'a Fleet,
    book: &'a Book,
    tally: &'a Tally,
    random: fastrand::Rng,
    /// Tokens to present again, each with its user and when it was complete.
    tokens: VecDeque<(usize, Instant, String)>,
}

impl<'a> Client<'a> {
    pub(super) fn new(fleet: &'a Fleet, book: &'a Book, tally: &'a Tally, random: fastrand::Rng) -> Self {
        Self { fleet, book, tally, random, tokens: VecDeque::new() }
    }

    pub(super) async fn run(mut self) {
        loop {
            let (user, replica) = (self.random.usize(..USERS), self.random.usize(..REPLICAS));
            match self.random.u8(..100) {
                0..55 => self.read(user, replica).await,
                55..78 => self.read_by_token(user, replica).await,
                78..84 => self.book.write(&self.fleet.cognito, user),
                84..87 => self.revoke(user, replica).await,
                87..90 => self.erase(user, replica).await,
                90..93 => self.tally.count("expire", &self.fleet.replicas[replica].expire(&sub(user)).await),
                93..98 => self.cancel(user, replica).await,
                _ => self.read_over_new_connection(user, replica).await,
            }
            sleep(Duration::from_millis(self.random.u64(..60))).await;
        }
    }

    async fn read(&mut self, user: usize, replica: usize) {
        let seconds = *self.random.choice(&[None, None, Some(0), Some(1), Some(5)]).unwrap();
        let freshness = seconds.and_then(max_age);
        let promise =
            self.book.promise(user, replica, seconds.map(|seconds| Duration::from_secs(seconds as u64)));
        let request = GetUserRequest { freshness, ..about(&sub(user)) };
        let answer = self.fleet.replicas[replica].get_user(request).await;
        self.tally.count("read by sub", &answer);
        if let Ok(answer) = answer {
            promise.check(name(&answer));
            let age = answer.freshness.unwrap().age.unwrap();
            if let Some(Freshness::MaxAge(most)) = freshness.filter(|_| seconds != Some(0)) {
                assert!(
                    (age.seconds, age.nanos) <= (most.seconds, most.nanos),
                    "{age:?} is older than {most:?}"
                );
            }
        }
    }

    async fn read_by_token(&mut self, user: usize, replica: usize) {
        let is_known = self.tokens.len() >= MAX_TOKENS || (!self.tokens.is_empty() && self.random.bool());
        let (user, minted, token) = match is_known {
            true => self.tokens.pop_front().unwrap(),
            false => {
                let token = self.fleet.cognito.access_token(&format!("member-{user}")).unwrap();
                (user, Instant::now(), token)
            }
        };
        let promise = self.book.promise(user, replica, None);
        let answer = self.fleet.replicas[replica].get_by_token(&token).await;
        self.tally.count("read by token", &answer);
        match answer {
            Ok(answer) => {
                promise.check(name(&answer));
                promise.check_token(minted);
                self.tokens.push_back((user, minted, token));
            }
            Err(status) if failure(&status).1 == "TOKEN_REVOKED" => {
                assert!(self.book.may_be_revoked(user), "a token that nobody revoked is refused");
                // Presented again, because `check_token` fails if another replica accepts it.
                if self.random.u8(..4) > 0 {
                    self.tokens.push_back((user, minted, token));
                }
            }
            // Those of a withdrawn key are forgotten in time.
            Err(_) if self.random.u8(..4) == 0 => {}
            Err(_) => self.tokens.push_back((user, minted, token)),
        }
    }

    async fn revoke(&self, user: usize, replica: usize) {
        let sent = self.book.revokes(user);
        let answer = self.fleet.replicas[replica].revoke(&sub(user)).await;
        self.tally.count("revoke", &answer);
        self.book.revoked(user, replica, sent, answer.is_ok_and(|answer| answer.reached_all_replicas));
    }

    async fn erase(&self, user: usize, replica: usize) {
        let sent = Instant::now();
        let answer = self.fleet.replicas[replica].erase(&sub(user)).await;
        self.tally.count("erase", &answer);
        if answer.is_ok() {
            self.book.erased(user, replica, sent);
        }
    }

    async fn cancel(&mut self, user: usize, replica: usize) {
        let patience = Duration::from_micros(self.random.u64(..20_000));
        let request = GetUserRequest { freshness: max_age(0), ..about(&sub(user)) };
        let answer = timeout(patience, self.fleet.replicas[replica].get_user(request)).await;
        self.tally.count("cancel", &answer.map_err(|_| Status::cancelled("by the client")).flatten());
    }

    async fn read_over_new_connection(&self, user: usize, replica: usize) {
        let channel = self.fleet.replicas[replica].connect().await;
        let token = self.fleet.cognito.access_token(&format!("member-{user}")).unwrap();
        let request = with_token(&token, GetUserRequest::default());
        let answer = UserServiceClient::new(channel).get_user(request).await;
        self.tally.count("read over a new connection", &answer);
        if let Ok(answer) = answer {
            assert!(name(answer.get_ref()).starts_with(&sub(user)), "another user's attributes");
        }
    }
}

fn name(answer: &GetUserResponse) -> &str {
    &answer.user.as_ref().unwrap().attributes["name"]
}

const MAX_TOKENS: usize = 100;
