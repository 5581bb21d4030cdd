//! The target `http2_frames`.

use std::time::Duration;

use tokio::time::Instant;

use super::{Flood, FrameMeter};
use crate::oracle::Input;

/// A connection is a flood exactly if, counted frame by frame, its other frames exceed what its calls
/// allow, whatever pieces it comes in.
///
/// The first three bytes of the input choose the size of the pieces and how often the rest is repeated.
pub(crate) fn http2_frames(input: &[u8]) {
    let mut input = Input::new(input);
    let (size, repeats) = (usize::from(input.byte()) * 8 + 1, usize::from(input.u16()));
    let frames = input.rest();
    let repeats = repeats.min(MAX_BYTES / frames.len().max(1)).max(1);
    let bytes = [&PREFACE[..], &frames.repeat(repeats)].concat();
    let (mut meter, begun) = (FrameMeter::new(), Instant::now());
    let observed = bytes.chunks(size).try_for_each(|chunk| meter.observe(chunk));
    let counted = Counted::of(&bytes);
    // Time earns an allowance too, but only once it is used up.
    let may_have_earned = begun.elapsed() >= Duration::from_millis(100);
    assert!(counted.is_flood || observed.is_ok(), "no flood is cut");
    assert!(!counted.is_flood || observed == Err(Flood) || may_have_earned, "a flood is not cut");
    if observed.is_ok() {
        assert!(meter.preface_complete);
        assert_eq!(meter.block_open, counted.block_open);
    }
}

struct Counted {
    is_flood: bool,
    block_open: bool,
}

impl Counted {
    /// Counts the frames of a whole connection (RFC 9113, section 4.1).
    fn of(bytes: &[u8]) -> Self {
        let (mut at, mut left, mut counted) =
            (PREFACE.len(), 10_000_u32, Self { is_flood: false, block_open: false });
        while let Some([high, middle, low, kind, flags]) = bytes.get(at..at + 5) {
            counted.block_open = [1, 9].contains(kind) && flags & 4 == 0;
            match kind {
                0 | 9 => {}
                1 => left = (left + 20).min(10_000),
                _ if left == 0 => counted.is_flood = true,
                _ => left -= 1,
            }
            at += 9 + u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        }
        counted
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MAX_BYTES: usize = 256 * 1024;
