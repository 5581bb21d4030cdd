//! How a command ends: with a code that tells programs what kind of failure it was.

use std::fmt::Display;

use tonic::{Code, Status};

use crate::config::Faults;

/// How a command failed.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Exit {
    pub(super) fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    pub(super) fn faulty(faults: Faults) -> Self {
        Self::misused(format_args!("the settings are wrong:\n{faults}"))
    }

    pub(super) fn misused(message: impl Display) -> Self {
        Self { code: MISUSED, message: message.to_string() }
    }

    pub(super) fn not_called(message: impl Display) -> Self {
        Self { code: NOT_CALLED, message: message.to_string() }
    }

    pub(super) fn not_serving(message: impl Display) -> Self {
        Self { code: NOT_SERVING, message: message.to_string() }
    }

    pub(super) fn refused(message: impl Display) -> Self {
        Self { code: REFUSED, message: message.to_string() }
    }

    /// A call was answered with this status, about which there is a message.
    pub(super) fn answered(status: &Status, message: String) -> Self {
        Self { code: code(status.code()), message }
    }
}

fn code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange => MISUSED,
        Code::Unauthenticated | Code::PermissionDenied => REFUSED,
        Code::NotFound => NOT_FOUND,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => LATER,
        _ => NOT_CALLED,
    }
}

/// What the codes mean, for `--help`.
pub(super) const CODES: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage, settings or request
  3  no connection, or an answer that is none of the below
  4  not serving (healthcheck)
  5  refused: the credential, the caller or what it asks for
  6  no such user
  7  not now: throttled, overloaded, unavailable or too slow; try again later";

const FAILED: u8 = 1;
const MISUSED: u8 = 2;
const NOT_CALLED: u8 = 3;
const NOT_SERVING: u8 = 4;
const REFUSED: u8 = 5;
const NOT_FOUND: u8 = 6;
const LATER: u8 = 7;
