//! The target `change_message`.

use std::time::{Duration, SystemTime};

use super::{
    change::{Change, ChangedPools, Ignored, OTHER, Reason, Subject},
    message::parse,
    names::EVENTS,
    user_change,
};
use crate::oracle::Json;

/// A change is about the user, the pool and the time that the message names in the places that are
/// documented. The envelope of SNS changes nothing, and what is ignored quotes nothing.
pub(crate) fn change_message(input: &[u8]) {
    let Ok(body) = str::from_utf8(input) else { return };
    let read = read(body);
    let is_enveloped =
        Json::parse(body.as_bytes()).is_some_and(|body| body.text("Type") == Some("Notification"));
    if body.len() < 40_000 && !is_enveloped {
        let text = serde_json::Value::String(body.to_owned());
        let enveloped = self::read(&format!(r#"{{"Type":"Notification","Message":{text}}}"#));
        assert_eq!(enveloped, read, "in an envelope");
    }
    match read {
        Ok(change) => check(&change, body),
        Err(Ignored { event, reason }) => {
            assert!(is_known(event) || event == OTHER, "an event that is not in the table");
            if let Reason::Unknown(Some(name)) = reason {
                let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
                assert!(is_word && name.len() <= 64, "text of a message would be logged");
            }
        }
    }
}

fn check(change: &Change, body: &str) {
    assert!(is_known(change.event), "an event that is not in the table");
    assert!(change.at <= now() + Duration::from_secs(10), "a change in the future");
    let message = Json::parse(body.as_bytes());
    let inner = message.as_ref().and_then(|message| message.text("Message"));
    let inner = inner.and_then(|inner| Json::parse(inner.as_bytes()));
    let events = [message, inner];
    let details: Vec<_> = events.iter().flatten().filter_map(|event| event.member("detail")).collect();
    let names = |text: &str| details.iter().any(|detail| has_text(detail, text));
    match (&change.subject, &change.pools) {
        (Subject::User(sub), ChangedPools::One(pool)) => {
            assert_eq!(pool.as_str(), POOL, "a pool that is not served");
            assert!(names(sub.as_str()), "a user that the message does not name");
        }
        (Subject::User(sub), ChangedPools::OfRegion(_)) => {
            assert!(names(sub.as_str()), "a user that the message does not name");
        }
        (Subject::GroupMembers, _) => assert_eq!(change.event, "DeleteGroup"),
    }
}

fn has_text(value: &Json, text: &str) -> bool {
    !value.all(&|value| !matches!(value, Json::Text(own) if own == text))
}

fn is_known(event: &str) -> bool {
    event == user_change::EVENT || EVENTS.iter().any(|(name, _)| *name == event)
}

fn read(body: &str) -> Result<Change, Ignored> {
    parse(body, now(), |pool| pool.as_str() == POOL)
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

const POOL: &str = "eu-west-1_AbCdEfGhI";
