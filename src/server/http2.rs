//! HTTP/2: hyper's settings, and the limits that hyper and h2 do not have.

mod flood;
mod guarded_io;

use std::{error::Error, io, iter};

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::flood::fuzzing::http2_frames;
pub(super) use self::guarded_io::GuardedIo;
use crate::{config::LimitSettings, telemetry::metrics::CutReason};

/// Returns hyper's HTTP/2 server with the limits of the settings.
pub(super) fn builder(limits: &LimitSettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        // grpc-go sends no date either; it serves caches only (RFC 9110, section 6.6.1).
        .auto_date_header(false)
        .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
        .max_local_error_reset_streams(limits.local_error_resets)
        .max_pending_accept_reset_streams(limits.pending_accept_resets)
        .max_header_list_size(u32::try_from(limits.header_list).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Returns the reason as an error if [`GuardedIo`] cut the connection. A connection that the client
/// or a protocol error ended is not one that was cut.
pub(super) fn cut_reason(ended: Result<(), hyper::Error>) -> Result<(), CutReason> {
    let Err(error) = ended else { return Ok(()) };
    let mut causes = iter::successors(Some(&error as &(dyn Error + 'static)), |error| (*error).source());
    match causes.find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(guarded_io::PREFACE_TIMEOUT) => Err(CutReason::Handshake),
        Some(guarded_io::FLOOD) => Err(CutReason::Flood),
        Some(guarded_io::MEMORY) => Err(CutReason::Memory),
        Some(guarded_io::STALL) => Err(CutReason::Stall),
        _ => Ok(()),
    }
}

// The smallest window of a connection (RFC 9113, section 6.9.2). Messages are read as they come, so
// it bounds what h2 keeps of them, and still lets 100 calls of usual size start in one round trip.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 65_535;
// For each call. The largest user takes 140 KB, so its response needs a few rounds.
const SEND_BUFFER: usize = 64 * 1024;
