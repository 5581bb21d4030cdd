//! The account of one connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    limit::{Exhausted, MemoryLimit, Share},
    unread::UnreadResponses,
};

/// The memory of one connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionMemory(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: MemoryLimit,
    evicted: Arc<Notify>,
    used: AtomicUsize,
    /// How much may be used before `share` grows; its size.
    reserved: AtomicUsize,
    share: Mutex<Share>,
    is_known: AtomicBool,
    /// Bytes of refused charges since the last read.
    refused: AtomicUsize,
    unread: UnreadResponses,
}

impl ConnectionMemory {
    /// Opens the account of a new connection. Another one, on which no caller has been identified,
    /// may be evicted for it.
    pub fn open(limit: &MemoryLimit) -> Result<Self, Exhausted> {
        let connection = limit.connection_bytes();
        let share = limit.open(connection + FREE)?;
        Ok(Self(Arc::new(Account {
            limit: limit.clone(),
            evicted: Arc::clone(&share.evicted),
            used: connection.into(),
            reserved: share.bytes.into(),
            share: share.into(),
            is_known: false.into(),
            refused: 0.into(),
            unread: UnreadResponses::default(),
        })))
    }

    /// Counts `bytes` until the charge is dropped. Counts nothing if there is no room for them.
    pub fn charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        let mut charge = self.no_charge();
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Returns a charge of nothing, which may grow.
    pub(super) fn no_charge(&self) -> Charge {
        Charge { account: Arc::clone(&self.0), bytes: 0 }
    }

    /// Lets the connection use all of the limit: a caller was identified on it, and has a rule.
    pub fn set_known(&self) {
        if !self.0.is_known.load(Relaxed) {
            self.0.share().set_known();
            self.0.is_known.store(true, Relaxed);
        }
    }

    /// Counts `read` bytes from the client. Returns how long to wait until more are read, so that
    /// strangers take little CPU: after refused charges, and if all strangers send too much.
    pub fn read(&self, read: usize) -> Option<Duration> {
        if self.0.is_known.load(Relaxed) {
            return None;
        }
        let refused = self.0.refused.swap(0, Relaxed) as f64;
        let pause = Duration::from_secs_f64(refused / REFUSED_PER_SECOND).min(MAX_PAUSE);
        let pause = (refused > 0.0).then_some(pause);
        pause.max(self.0.limit.strangers_read(read))
    }

    /// Completes when the connection must close to make room for another one. Cancel safe.
    pub async fn evicted(&self) {
        self.0.evicted.notified().await;
    }

    pub(super) fn unread(&self) -> &UnreadResponses {
        &self.0.unread
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// Counts `bytes` more. Counts nothing more if there is no room for them.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let account = &*self.account;
        let used = account.used.fetch_add(bytes, Relaxed) + bytes;
        if used > account.reserved.load(Relaxed) && account.reserve(used).is_err() {
            account.used.fetch_sub(bytes, Relaxed);
            account.limit.count_refusal();
            if !account.is_known.load(Relaxed) {
                account.refused.fetch_add(bytes, Relaxed);
            }
            return Err(Exhausted);
        }
        self.bytes += bytes;
        Ok(())
    }

    pub(super) fn unread(&self) -> &UnreadResponses {
        &self.account.unread
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let account = &*self.account;
        let used = account.used.fetch_sub(self.bytes, Relaxed) - self.bytes;
        if account.reserved.load(Relaxed) > used + FREE + 2 * STEP {
            account.give_back();
        }
    }
}

impl Account {
    fn share(&self) -> MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes enough of the limit for `used` bytes.
    fn reserve(&self, used: usize) -> Result<(), Exhausted> {
        let mut share = self.share();
        let more = used.saturating_sub(share.bytes).next_multiple_of(STEP);
        share.grow(more)?;
        self.reserved.store(share.bytes, Relaxed);
        Ok(())
    }

    fn give_back(&self) {
        let mut share = self.share();
        let kept = self.used.load(Relaxed) + FREE + STEP;
        if kept < share.bytes {
            share.shrink(kept);
            self.reserved.store(kept, Relaxed);
        }
    }
}

// What a connection may use for calls before it takes more: three or four calls of usual size.
const FREE: usize = 16 * 1024;
const STEP: usize = 64 * 1024;
// The bytes of one stranger that may be refused: some 20 calls a second.
const REFUSED_PER_SECOND: f64 = 100.0 * 1024.0;
const MAX_PAUSE: Duration = Duration::from_secs(10);
