//! Explains the calls over a Unix socket that h2 refuses.
//!
//! Some clients send the path of the socket as `:authority` (grpc/grpc#38142).
//! h2 resets such a stream with `PROTOCOL_ERROR` before it becomes a call, and reports it to nobody
//! (RFC 9113, section 8.1.1; hyperium/h2#487).

use tracing::warn;

/// Finds the streams that the server resets with `PROTOCOL_ERROR`, in what it sends.
#[derive(Debug, Default)]
pub(super) struct ResetFinder {
    /// Bytes to skip before the next frame.
    skip: usize,
    /// The first bytes of a frame, as a number.
    frame: u128,
    /// How many bytes `frame` has.
    filled: usize,
    logged: bool,
}

impl ResetFinder {
    /// Inspects the next bytes of the connection, in chunks of any size. Logs the first reset of
    /// the connection.
    pub(super) fn inspect(&mut self, bytes: &[u8]) {
        if self.finds_reset(bytes) && !self.logged {
            self.logged = true;
            warn!(
                "a call over the Unix socket was refused as malformed HTTP/2; the usual cause is a client \
                 that sends the path of the socket as :authority: set the client's authority to localhost \
                 (grpcio: grpc.default_authority, grpc-java: overrideAuthority, grpcurl: -authority)"
            );
        }
    }

    fn finds_reset(&mut self, mut bytes: &[u8]) -> bool {
        let mut found = false;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return found };
            bytes = rest;
            self.frame = self.frame << 8 | u128::from(*byte);
            self.filled += 1;
            let [.., high, middle, low, kind, _, _, _, _, _] = self.frame.to_be_bytes();
            match self.filled {
                HEADER_BYTES if kind != RST_STREAM => {
                    self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                    self.filled = 0;
                }
                RESET_BYTES => {
                    let [.., a, b, c, d] = self.frame.to_be_bytes();
                    found |= u32::from_be_bytes([a, b, c, d]) == PROTOCOL_ERROR;
                    self.filled = 0;
                }
                _ => {}
            }
        }
    }
}

// RFC 9113, sections 4.1, 6.4 and 7.
const HEADER_BYTES: usize = 9;
const RESET_BYTES: usize = 13;
const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
    const MALFORMED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    const CANCELLED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];

    #[test]
    fn a_reset_for_a_malformed_request_is_found_in_chunks_of_any_size() {
        // A payload that looks like such a reset is none.
        let data = [&[0, 0, 13, 0, 0, 0, 0, 0, 1][..], MALFORMED].concat();
        let table = [
            ([SETTINGS, MALFORMED].concat(), true),
            ([SETTINGS, &data, CANCELLED, MALFORMED, SETTINGS].concat(), true),
            ([SETTINGS, CANCELLED, &data].concat(), false),
        ];
        for (bytes, expected) in table {
            for size in 1..=bytes.len() {
                let mut finder = ResetFinder::default();
                let found = bytes.chunks(size).filter(|chunk| finder.finds_reset(chunk)).count();
                assert_eq!(found, usize::from(expected), "{size}");
            }
        }
    }
}
