//! Responses, which count until h2 has written them.

use std::time::Duration;

use bytes::Bytes;

use super::{
    account::{Charge, ConnectionMemory},
    limit::Exhausted,
};

/// Bytes that keep a guard until the last reference to them is gone.
struct Guarded<B, G> {
    bytes: B,
    _guard: G,
}

impl<B: AsRef<[u8]>, G> AsRef<[u8]> for Guarded<B, G> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A response, or a part of one, that its client has not read.
struct Unread {
    charge: Charge,
    period: usize,
}

impl Unread {
    fn begin(charge: Charge) -> Self {
        Self { period: charge.unread().begin(), charge }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.charge.unread().end(self.period);
    }
}

impl ConnectionMemory {
    /// Returns `bytes` as a response that counts, and is watched, until its client has read it.
    pub fn response(&self, bytes: Vec<u8>) -> Result<Bytes, Exhausted> {
        let unread = Unread::begin(self.charge(bytes.capacity())?);
        Ok(Bytes::from_owner(Guarded { bytes, _guard: unread }))
    }

    /// Returns `bytes` as a response that counts until its client has read the last [`part`]. Only
    /// the parts are watched, because reading all of it may take long.
    ///
    /// [`part`]: Self::part
    pub fn response_in_parts(&self, mut bytes: Vec<u8>) -> Result<Bytes, Exhausted> {
        bytes.shrink_to_fit();
        let charge = self.charge(bytes.capacity())?;
        Ok(Bytes::from_owner(Guarded { bytes, _guard: charge }))
    }

    /// Returns a part of a response, watched until its client has read it.
    pub fn part(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Guarded { bytes, _guard: Unread::begin(self.no_charge()) })
    }

    /// Completes when something has been unread for `timeout` to twice as long. Cancel safe.
    pub async fn stalled(&self, timeout: Duration) {
        self.unread().stalled(timeout).await;
    }
}
