use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use cognito_standin::{StandIn, User};
use tokio::time::Instant;

use crate::replicas::fleet::sub;

/// What is true of each user: what was written, erased and revoked, and when.
pub(super) struct Book(Vec<Mutex<Page>>);

#[derive(Default)]
struct Page {
    /// When each version of the user's name was in Cognito.
    writes: Vec<Instant>,
    /// The oldest version that each replica may return.
    oldest: [usize; REPLICAS],
    /// Each replica must refuse the tokens from before this time.
    cutoffs: [Option<Instant>; REPLICAS],
    /// Cutoffs that other replicas may not have heard of yet, and when they were answered.
    unsettled: Vec<(Instant, Instant)>,
    /// Sign-outs that some watcher has not heard of.
    sign_outs: Vec<SignOut>,
    /// Whether a revocation was ever asked for.
    is_revoked: bool,
}

/// A revocation, and which watchers have heard of it.
struct SignOut {
    sent: SystemTime,
    /// When the answer came, if the revocation reached all replicas.
    answered: Option<Instant>,
    heard: [bool; WATCHERS],
}

/// What an answer must obey, from when its request was sent.
pub(super) struct Promise {
    oldest: usize,
    cutoff: Option<Instant>,
    user: usize,
}

impl Default for Book {
    fn default() -> Self {
        Self((0..USERS).map(|_| Mutex::default()).collect())
    }
}

impl Book {
    /// Writes the first version of every name.
    pub(super) fn write_all(&self, cognito: &StandIn) {
        (0..USERS).for_each(|user| self.write(cognito, user));
    }

    /// Writes the next version of a user's name.
    pub(super) fn write(&self, cognito: &StandIn, user: usize) {
        let mut page = self.page(user);
        let name = format!("{} {}", sub(user), page.writes.len());
        let rename = |user: &mut User| drop(user.attributes.insert("name".into(), name));
        cognito.update_user(&sub(user), rename).unwrap();
        page.writes.push(Instant::now());
    }

    /// Notes that a replica has answered an erasure that was sent at this time.
    pub(super) fn erased(&self, user: usize, replica: usize, sent: Instant) {
        let mut page = self.page(user);
        page.oldest[replica] = page.oldest[replica].max(page.version_at(sent));
    }

    /// Notes that a revocation is sent now. Returns the time by both clocks.
    pub(super) fn revokes(&self, user: usize) -> (Instant, SystemTime) {
        let mut page = self.page(user);
        page.is_revoked = true;
        let sent = (Instant::now(), SystemTime::now());
        // A watcher may hear of it before it is answered.
        page.sign_outs.push(SignOut { sent: sent.1, answered: None, heard: [false; WATCHERS] });
        sent
    }

    /// Notes that a replica has answered the revocation that was sent at this time, and whether it
    /// reached all replicas.
    pub(super) fn revoked(
        &self,
        user: usize,
        replica: usize,
        sent: (Instant, SystemTime),
        is_everywhere: bool,
    ) {
        let (mut page, answered) = (self.page(user), Instant::now());
        if is_everywhere {
            page.cut_off(replica, sent.0);
            page.unsettled.push((sent.0, answered));
            let own = page.sign_outs.iter_mut().filter(|one| one.sent == sent.1);
            own.for_each(|one| one.answered = Some(answered));
        } else {
            page.sign_outs.retain(|one| one.sent != sent.1);
        }
    }

    /// Notes that a watcher has heard from a replica that the user's tokens until then are refused.
    pub(super) fn heard(&self, user: usize, watcher: usize, replica: usize, until: SystemTime) {
        let mut page = self.page(user);
        let ago = SystemTime::now().duration_since(until).unwrap() + CLOCK_TICK;
        page.cut_off(replica, Instant::now() - ago);
        page.forget_sign_outs(watcher, until + CLOCK_TICK);
    }

    /// Expects no sign-out that was sent until now of this watcher: its stream had a gap, or began without
    /// a resume token.
    pub(super) fn missed(&self, watcher: usize) {
        (0..USERS).for_each(|user| self.page(user).forget_sign_outs(watcher, SystemTime::now()));
    }

    /// Returns whether every watcher has heard of each sign-out that was answered at this time or before.
    pub(super) fn is_heard_until(&self, until: Instant) -> bool {
        (0..USERS).all(|user| {
            self.page(user).sign_outs.iter().all(|one| one.answered.is_none_or(|time| time > until))
        })
    }

    /// Notes that all replicas have heard what was answered until then.
    pub(super) fn settled(&self, until: Instant) {
        for user in 0..USERS {
            let mut page = self.page(user);
            let (settled, unsettled): (Vec<_>, Vec<_>) =
                page.unsettled.drain(..).partition(|(_, answered)| *answered <= until);
            page.unsettled = unsettled;
            for (sent, _) in settled {
                (0..REPLICAS).for_each(|replica| page.cut_off(replica, sent));
            }
        }
    }

    /// Returns what must hold for an answer of a replica to a request that is sent now.
    pub(super) fn promise(&self, user: usize, replica: usize, max_age: Option<Duration>) -> Promise {
        let page = self.page(user);
        let sent = Instant::now();
        let earliest = sent.checked_sub(max_age.unwrap_or(USABLE_FOR * 11 / 10) + CLOCK_TICK);
        let written = earliest.map_or(0, |earliest| page.version_at(earliest));
        Promise { oldest: written.max(page.oldest[replica]), cutoff: page.cutoffs[replica], user }
    }

    /// Returns whether a token of the user may be refused as revoked.
    pub(super) fn may_be_revoked(&self, user: usize) -> bool {
        self.page(user).is_revoked
    }

    fn page(&self, user: usize) -> MutexGuard<'_, Page> {
        self.0[user].lock().unwrap()
    }
}

impl Page {
    /// Returns the version that a fetch at this time reads at least.
    fn version_at(&self, time: Instant) -> usize {
        self.writes.partition_point(|written| *written <= time).saturating_sub(1)
    }

    fn forget_sign_outs(&mut self, watcher: usize, until: SystemTime) {
        self.sign_outs.iter_mut().filter(|one| one.sent <= until).for_each(|one| one.heard[watcher] = true);
        self.sign_outs.retain(|one| one.heard != [true; WATCHERS]);
    }

    fn cut_off(&mut self, replica: usize, sent: Instant) {
        self.cutoffs[replica] = self.cutoffs[replica].max(Some(sent));
    }
}

impl Promise {
    /// Panics unless this is the name of the user, and recent enough.
    pub(super) fn check(&self, name: &str) {
        let (owner, version) = name.split_once(' ').unwrap_or_else(|| panic!("the name {name:?}"));
        assert_eq!(owner, sub(self.user), "another user's attributes");
        let version: usize = version.parse().unwrap();
        assert!(version >= self.oldest, "version {version} of {owner}, not {} or later", self.oldest);
    }

    /// Panics if a token that was complete at this time must be refused.
    pub(super) fn check_token(&self, minted: Instant) {
        assert!(
            self.cutoff.is_none_or(|cutoff| minted > cutoff),
            "a revoked token of {} is accepted",
            sub(self.user)
        );
    }
}

/// How long a cached user is served while Cognito does not answer.
pub(super) const USABLE_FOR: Duration = Duration::from_secs(20);
pub(super) const USERS: usize = 100;
pub(super) const REPLICAS: usize = 3;
pub(super) const WATCHERS: usize = 3;
/// Ages are sent in whole milliseconds, and clocks are read one after the other.
const CLOCK_TICK: Duration = Duration::from_millis(5);

#[test]
fn a_broken_promise_is_seen() {
    let broken = |check: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err();
    let (book, now) = (Book::default(), Instant::now());
    let second = Duration::from_secs(1);
    book.page(3).writes = vec![now - 9 * second, now - 5 * second];
    let name = |user, version: usize| format!("{} {version}", sub(user));
    let promise = |max_age: u32| book.promise(3, 0, Some(max_age * second));
    assert!(broken(&|| promise(1).check(&name(3, 0))), "too old");
    assert!(broken(&|| promise(1).check(&name(4, 1))), "another user");
    promise(1).check(&name(3, 1));
    promise(7).check(&name(3, 0));
    book.erased(3, 0, now);
    assert!(broken(&|| promise(7).check(&name(3, 0))), "erased");
    book.promise(3, 1, Some(7 * second)).check(&name(3, 0));
    let sent = book.revokes(3);
    book.revoked(3, 1, (now, sent.1), true);
    assert!(broken(&|| book.promise(3, 1, None).check_token(now - second)), "revoked");
    book.promise(3, 2, None).check_token(now - second);
    book.settled(Instant::now());
    assert!(broken(&|| book.promise(3, 2, None).check_token(now - second)), "revoked elsewhere");
    book.promise(3, 2, None).check_token(now + second);
    for watcher in 0..WATCHERS - 1 {
        book.heard(3, watcher, 0, SystemTime::now());
    }
    assert!(!book.is_heard_until(Instant::now()), "one watcher missed it");
    book.missed(WATCHERS - 1);
    assert!(book.is_heard_until(Instant::now()));
}
