//! Limits the HTTP/2 frames that carry no call.
//!
//! h2 bounds resets, DATA and CONTINUATION, but answers every PING and SETTINGS frame. nginx limits
//! such frames in the same way.

use tokio::time::Instant;

/// Finds the frame headers in what a client sends. Charges each frame that carries no call to an
/// allowance, which grows with calls and with time.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes to skip before the next frame header.
    skip: usize,
    /// The first bytes of a frame header: the length of the payload, the type and the flags.
    header: u64,
    /// How many bytes `header` has.
    filled: usize,
    /// Whether the client has sent the whole connection preface.
    pub(super) preface_complete: bool,
    /// Whether the last frame was HEADERS or CONTINUATION, and more of the block is to follow.
    pub(super) block_open: bool,
    /// How many more frames that carry no call may come.
    allowance: u32,
    refilled: Instant,
}

/// The client exceeded the allowance.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Flood;

impl FrameMeter {
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            header: 0,
            filled: 0,
            preface_complete: false,
            block_open: false,
            allowance: MAX_ALLOWANCE,
            refilled: Instant::now(),
        }
    }

    /// Meters the next bytes of the connection, in chunks of any size.
    pub(super) fn observe(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            self.preface_complete |= self.skip == 0;
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            bytes = rest;
            self.header = self.header << 8 | u64::from(*byte);
            self.filled += 1;
            if self.filled == METERED_HEADER_BYTES {
                self.filled = 0;
                let [.., high, middle, low, kind, flags] = self.header.to_be_bytes();
                self.block_open = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.skip = FRAME_HEADER_BYTES - METERED_HEADER_BYTES + length;
                self.charge(kind)?;
            }
        }
    }

    fn charge(&mut self, kind: u8) -> Result<(), Flood> {
        match kind {
            HEADERS => self.allowance = (self.allowance + ALLOWANCE_PER_CALL).min(MAX_ALLOWANCE),
            DATA | CONTINUATION => {}
            _ => {
                if self.allowance == 0 {
                    self.refill();
                }
                self.allowance = self.allowance.checked_sub(1).ok_or(Flood)?;
            }
        }
        Ok(())
    }

    /// Adds what time has earned, for a long connection with few calls. Called only when the
    /// allowance is used up, so that most frames cost no reading of the clock.
    fn refill(&mut self) {
        let earned = self.refilled.elapsed().as_millis() * u128::from(ALLOWANCE_PER_SECOND) / 1000;
        self.allowance = u32::try_from(earned).unwrap_or(MAX_ALLOWANCE).min(MAX_ALLOWANCE);
        if self.allowance > 0 {
            self.refilled = Instant::now();
        }
    }
}

// RFC 9113, sections 3.4, 4.1 and 6.
const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const METERED_HEADER_BYTES: usize = 5;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
// A call brings a reset, a few window updates and a ping that estimates the bandwidth: far fewer.
const ALLOWANCE_PER_CALL: u32 = 20;
// For the pings and window updates of a health watch that lasts for a day.
const ALLOWANCE_PER_SECOND: u32 = 10;
// The limit of nginx. A client that pings every second uses 300 in the life of a connection.
const MAX_ALLOWANCE: u32 = 10_000;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    #[test]
    fn frames_are_found_in_chunks_of_any_size() {
        let bytes =
            [&[b'P'; PREFACE_BYTES][..], &frame(PING, 8), &frame(DATA, 200), &frame(PING, 8)].concat();
        for size in 1..bytes.len() {
            let mut meter = FrameMeter::new();
            bytes.chunks(size).for_each(|chunk| assert_eq!(meter.observe(chunk), Ok(())));
            assert_eq!((meter.allowance, meter.skip, meter.filled), (MAX_ALLOWANCE - 2, 0, 0), "{size}");
        }
    }

    #[test]
    fn the_preface_is_complete_with_its_last_byte() {
        let mut meter = FrameMeter::new();
        for n in 1..=PREFACE_BYTES {
            assert!(!meter.preface_complete);
            meter.observe(b"P").unwrap();
            assert_eq!(meter.preface_complete, n == PREFACE_BYTES);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_grows_with_time() {
        let mut meter = FrameMeter::new();
        meter.observe(&[b'P'; PREFACE_BYTES]).unwrap();
        meter.observe(&frame(PING, 8).repeat(MAX_ALLOWANCE as usize)).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(meter.observe(&frame(PING, 8).repeat(ALLOWANCE_PER_SECOND as usize)), Ok(()));
        assert_eq!(meter.observe(&frame(PING, 8)), Err(Flood));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_beyond_the_allowance_are_a_flood() {
        let per_call = ALLOWANCE_PER_CALL as usize;
        for (case, calls, others, flood) in [
            ("the whole allowance", 0, MAX_ALLOWANCE as usize, false),
            ("one frame more", 0, MAX_ALLOWANCE as usize + 1, true),
            ("calls, each with its allowance", 1, per_call, false),
            ("calls, each with one frame more", 1, per_call + 1, true),
        ] {
            let round = [frame(HEADERS, 5).repeat(calls), frame(PING, 8).repeat(others)].concat();
            let mut meter = FrameMeter::new();
            meter.observe(&[b'P'; PREFACE_BYTES]).unwrap();
            let rounds = if calls == 0 { 1 } else { MAX_ALLOWANCE + 1 };
            let outcome = (0..rounds).try_for_each(|_| meter.observe(&round));
            assert_eq!(outcome.is_err(), flood, "{case}");
        }
    }

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let payload = vec![0xff; usize::from(length)];
        [&[0, 0, length, kind, 0, 0, 0, 0, 1][..], &payload].concat()
    }
}
