//! Confirmation codes. The stand-in sends no messages, so there is one code for all.

use serde_json::Value;

use super::{super::api_error::ApiError, member};

/// Checks the code in this member of an input.
pub(super) fn check(input: &Value, name: &str) -> Result<(), ApiError> {
    let code: String = member(input, name)?;
    if code == CODE { Ok(()) } else { Err(ApiError::CodeMismatch) }
}

const CODE: &str = "123456";
