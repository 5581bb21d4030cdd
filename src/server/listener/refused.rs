//! Explains the calls over a Unix socket that h2 refuses.
//!
//! Some clients send the path of the socket as `:authority` (grpc/grpc#38142). h2 resets such a
//! stream with `PROTOCOL_ERROR` before it becomes a call, and reports it to nobody (RFC 9113,
//! section 8.1.1; hyperium/h2#487).

use tracing::warn;

/// Returns an inspector of what a server writes to one client. It logs the first such reset.
pub(super) fn explainer() -> impl FnMut(&[u8]) + Send {
    let mut explained = false;
    move |written| {
        if !explained && has_reset(written) {
            explained = true;
            warn!(
                "a call over the Unix socket was refused as malformed HTTP/2; the usual cause is a client \
                 that sends the path of the socket as :authority: set the client's authority to localhost \
                 (grpcio: grpc.default_authority, grpc-java: overrideAuthority, grpcurl: -authority)"
            );
        }
    }
}

/// Searches for the bytes of the frame, without parsing the others: a false match costs one line in
/// the log. Replies are longer, so they cost nothing.
fn has_reset(written: &[u8]) -> bool {
    // RST_STREAM with PROTOCOL_ERROR (RFC 9113, sections 4.1, 6.4 and 7).
    let is_reset = |frame: &[u8]| matches!(frame, [0, 0, 4, 3, 0, _, _, _, _, 0, 0, 0, 1]);
    written.len() <= LONGEST && written.windows(RESET_BYTES).any(is_reset)
}

const RESET_BYTES: usize = 13;
// The frames that begin a connection, and the reset.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_for_a_malformed_request_is_found() {
        const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        const MALFORMED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        const CANCELLED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
        let table: [(&[&[u8]], bool); 5] = [
            (&[MALFORMED], true),
            (&[SETTINGS, CANCELLED, MALFORMED, SETTINGS], true),
            (&[SETTINGS, CANCELLED], false),
            (&[&[0; LONGEST], MALFORMED], false),
            (&[], false),
        ];
        for (frames, expected) in table {
            assert_eq!(has_reset(&frames.concat()), expected, "{frames:?}");
        }
    }
}
