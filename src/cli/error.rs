//! How a command ends: with a code that tells programs what kind of failure it was.

use std::fmt::Display;

use tonic::{Code, Status};

use crate::config::ConfigErrors;

/// How a command failed.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) code: u8,
    pub(super) message: String,
}

impl CommandError {
    pub(super) fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    pub(super) fn config(errors: ConfigErrors) -> Self {
        Self::usage(format_args!("the settings are wrong:\n{errors}"))
    }

    pub(super) fn usage(message: impl Display) -> Self {
        Self { code: USAGE, message: message.to_string() }
    }

    pub(super) fn unreachable(message: impl Display) -> Self {
        Self { code: UNREACHABLE, message: message.to_string() }
    }

    pub(super) fn not_serving(message: impl Display) -> Self {
        Self { code: NOT_SERVING, message: message.to_string() }
    }

    pub(super) fn refused(message: impl Display) -> Self {
        Self { code: REFUSED, message: message.to_string() }
    }

    /// A call was answered with this status, about which there is a message.
    pub(super) fn from_status(status: &Status, message: String) -> Self {
        Self { code: code(status.code()), message }
    }
}

fn code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange => USAGE,
        Code::Unauthenticated | Code::PermissionDenied => REFUSED,
        Code::NotFound => NOT_FOUND,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => TEMPORARY,
        _ => UNREACHABLE,
    }
}

/// What the codes mean, for `--help`.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage, settings or request
  3  no connection, or an answer that is none of the below
  4  not serving (healthcheck)
  5  refused: the credential, the caller or what it asks for
  6  no such user
  7  not now: throttled, overloaded, unavailable or too slow; try again later";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const NOT_SERVING: u8 = 4;
const REFUSED: u8 = 5;
const NOT_FOUND: u8 = 6;
const TEMPORARY: u8 = 7;
