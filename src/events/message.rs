//! The body of a message: an EventBridge event, or one in the envelope of Amazon SNS.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{
    change::{Change, Ignored},
    cloudtrail, fields, user_change,
};
use crate::pool::PoolId;

/// Reads the body of a message that was received at `now`. `is_served` says whether the service
/// serves a pool.
///
/// It is a pure function: no message causes a call, and a message that cannot be read only says so.
/// A time that is more than 10 s ahead becomes `now`, so that a wrong clock cannot invalidate the
/// future.
pub fn parse(body: &str, now: SystemTime, is_served: impl Fn(&PoolId) -> bool) -> Result<Change, Ignored> {
    let mut event = json(body)?;
    if fields::text(&event, "/Type") == Some("Notification") {
        event = json(fields::text(&event, "/Message").ok_or_else(Ignored::malformed)?)?;
    }
    if !event.get("detail").is_some_and(Value::is_object) {
        return Err(Ignored::malformed());
    }
    let change = match fields::text(&event, "/detail-type") {
        Some(user_change::DETAIL_TYPE) => user_change::read(&event, is_served)?,
        _ => cloudtrail::read(&event, is_served)?,
    };
    Ok(not_ahead(change, now))
}

/// As [`parse`], for the record of a call as CloudTrail itself returns it.
pub(super) fn parse_record(
    record: &str,
    now: SystemTime,
    is_served: impl Fn(&PoolId) -> bool,
) -> Result<Change, Ignored> {
    let event = json!({"source": "aws.cognito-idp", "detail": json(record)?});
    Ok(not_ahead(cloudtrail::read(&event, is_served)?, now))
}

fn not_ahead(change: Change, now: SystemTime) -> Change {
    let is_ahead = change.at.duration_since(now).is_ok_and(|ahead| ahead > CLOCK_TOLERANCE);
    Change { at: if is_ahead { now } else { change.at }, ..change }
}

fn json(text: &str) -> Result<Value, Ignored> {
    if text.len() > MAX_BYTES {
        return Err(Ignored::malformed());
    }
    serde_json::from_str(text).map_err(|_| Ignored::malformed())
}

/// The longest event of EventBridge (EventBridge user guide, "Quotas").
const MAX_BYTES: usize = 256 * 1024;
/// How far the clock of a host of Cognito may be ahead of this one's.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);
