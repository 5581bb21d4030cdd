//! The error of a command: a message, and the exit code that tells scripts the kind of failure.

use std::{fmt::Display, io};

use tonic::Code;

use crate::config::ConfigErrors;

/// Why a command failed.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) code: u8,
    pub(super) message: String,
}

impl CommandError {
    pub(super) fn failed(message: impl Display) -> Self {
        Self { code: FAILED, message: message.to_string() }
    }

    /// Returns the error of a write to standard output. A reader that has read enough, such as
    /// `head`, ends the command without a word.
    pub(super) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, message: String::new() };
        }
        Self::failed(error)
    }

    pub(super) fn config(errors: ConfigErrors) -> Self {
        Self::usage(format_args!("the settings are wrong:\n{errors}"))
    }

    /// Returns the error of a start with these settings. The exit code of errors that may pass
    /// makes supervisors start the process again.
    pub(super) fn start(errors: ConfigErrors) -> Self {
        let code = if errors.may_pass() { FAILED } else { USAGE };
        Self { code, ..Self::config(errors) }
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

    /// Returns the error of a call that failed with this status.
    pub(super) fn from_status(code: Code, message: String) -> Self {
        Self { code: exit_code(code), message }
    }
}

fn exit_code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange => USAGE,
        Code::Unauthenticated | Code::PermissionDenied => REFUSED,
        Code::NotFound => NOT_FOUND,
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => TEMPORARY,
        _ => UNREACHABLE,
    }
}

/// The exit codes, for `--help`.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed
  2  wrong usage, settings or request
  3  no connection, or a failure that is none of the below
  4  not serving (healthcheck)
  5  refused: the credential, the caller or the request
  6  no such user
  7  temporary: throttled, overloaded, unavailable or too slow; try again later";

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const NOT_SERVING: u8 = 4;
const REFUSED: u8 = 5;
const NOT_FOUND: u8 = 6;
const TEMPORARY: u8 = 7;
