//! The arguments of a script, and the parts of its reply.

use std::{time::Duration, vec};

use super::{
    call::{CallError, Reply},
    server_time::ServerTime,
};

/// Returns a time span as an argument, in whole microseconds.
pub(super) fn micros(span: Duration) -> Vec<u8> {
    span.as_micros().to_string().into_bytes()
}

/// Returns a time span as an argument, in whole milliseconds: the next larger number, at least 1, for
/// Valkey removes a key whose TTL is 0.
pub(super) fn millis(span: Duration) -> Vec<u8> {
    span.as_micros().div_ceil(1_000).max(1).to_string().into_bytes()
}

/// Returns a flag as an argument.
pub(super) fn flag(flag: bool) -> Vec<u8> {
    if flag { b"1".to_vec() } else { b"0".to_vec() }
}

/// The parts of a reply, in order. One that is missing or of another type is [`CallError::Script`].
#[derive(Debug)]
pub(super) struct Parts(vec::IntoIter<Reply>);

impl Parts {
    pub(super) fn of(reply: Reply) -> Self {
        match reply {
            Reply::Array(parts) => Self(parts.into_iter()),
            other => Self(vec![other].into_iter()),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, CallError> {
        match self.0.next() {
            Some(Reply::Int(number)) => u64::try_from(number).map_err(|_| CallError::Script),
            _ => Err(CallError::Script),
        }
    }

    pub(super) fn time(&mut self) -> Result<ServerTime, CallError> {
        self.number().map(ServerTime::from_micros)
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, CallError> {
        match self.0.next() {
            Some(Reply::Bytes(bytes)) => Ok(bytes),
            _ => Err(CallError::Script),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, CallError> {
        String::from_utf8(self.bytes()?).map_err(|_| CallError::Script)
    }

    /// Returns a text, or none where the script returned nothing.
    pub(super) fn optional_text(&mut self) -> Result<Option<String>, CallError> {
        match self.0.as_slice().first() {
            Some(Reply::Nil) => {
                self.0.next();
                Ok(None)
            }
            _ => self.text().map(Some),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}
