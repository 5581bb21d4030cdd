//! The targets `get_user_request`, `batch_request` and `reply`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};

use super::{batch, query, reply, status};
use crate::{
    attribute::{AttributeName, AttributeValue, Selection},
    clock::{BootTime, TimePoint},
    freshness::{Freshness, FreshnessRequirement, Source, StaleReason},
    oracle::Input,
    policy::Disclosure,
    pool::Pool,
    proto::{self, get_user_request},
    unix_time::UnixTime,
    user::{Groups, User, UserStatus},
};

/// A request is decoded as another decoder reads it from the descriptors, and it becomes a query
/// exactly if each of its fields is valid.
pub(crate) fn get_user_request(input: &[u8]) {
    let dynamic = DynamicMessage::decode(REQUEST.clone(), input);
    let Ok(message) = proto::GetUserRequest::decode(input) else {
        assert!(dynamic.is_err(), "another decoder reads it");
        return;
    };
    let dynamic = dynamic.expect("another decoder does not read it");
    let field = |name| dynamic.get_field_by_name(name).unwrap().into_owned();
    let texts = [
        ("sub", &message.sub),
        ("access_token", &message.access_token),
        ("user_pool_id", &message.user_pool_id),
    ];
    for (name, text) in texts {
        assert_eq!(field(name), Value::String(text.clone()), "{name}");
    }
    let names = message.attributes.iter().map(|name| Value::String(name.clone())).collect();
    assert_eq!(field("attributes"), Value::List(names));
    assert_eq!(field("include_groups"), Value::Bool(message.include_groups));
    let is_aged = matches!(message.freshness, Some(get_user_request::Freshness::MaxAge(_)));
    assert_eq!(dynamic.has_field_by_name("max_age"), is_aged);
    check_query(&message);
}

fn check_query(message: &proto::GetUserRequest) {
    let read = query(message, now);
    let is_valid = (message.sub.is_empty() || is_sub(&message.sub))
        && (message.user_pool_id.is_empty() || is_pool_id(&message.user_pool_id))
        && message.attributes.len() <= 100
        && message.attributes.iter().all(|name| is_attribute_name(name))
        && is_freshness(message.freshness.as_ref());
    assert_eq!(read.is_ok(), is_valid, "{read:?}");
    let Ok(read) = read else { return };
    assert_eq!(read.sub.as_ref().map_or("", |sub| sub.as_str()), message.sub);
    assert_eq!(read.pool.as_ref().map_or("", |pool| pool.as_str()), message.user_pool_id);
    assert_eq!(read.include_groups, message.include_groups);
    let always = ["sub", "user_pool_id", "status", "enabled"];
    let selected = message.attributes.iter().map(|name| &**name).filter(|name| !always.contains(name));
    let selected: BTreeSet<_> = selected.collect();
    match read.attributes {
        Selection::All => assert!(message.attributes.is_empty(), "more than was selected"),
        Selection::Only(names) => {
            assert!(!message.attributes.is_empty(), "less than was selected");
            assert_eq!(names.iter().map(AttributeName::as_str).collect::<BTreeSet<_>>(), selected);
        }
    }
    let is_any = read.freshness == FreshnessRequirement::Any;
    assert_eq!(is_any, message.freshness.is_none(), "a requirement was dropped or made up");
}

/// Each item of a batch is answered about the user that it names, and each user is looked up once.
pub(crate) fn batch_request(input: &[u8]) {
    let Ok(message) = proto::BatchGetUsersRequest::decode(input) else { return };
    let read = batch(&message, now);
    let is_valid = (1..=100).contains(&message.subs.len()) && message.subs.iter().all(|sub| is_sub(sub));
    assert!(is_valid || read.is_err(), "an invalid batch is read");
    let Ok(read) = read else { return };
    let users: Vec<_> = read.order.iter().map(|at| read.subs.get(*at).map(|sub| sub.as_str())).collect();
    let named: Vec<_> = message.subs.iter().map(|sub| Some(&**sub)).collect();
    assert_eq!(users, named, "another user");
    assert_eq!(read.subs.iter().collect::<BTreeSet<_>>().len(), read.subs.len(), "a user twice");
}

/// A reply decodes as the generated type, with exactly what is disclosed.
pub(crate) fn reply_to_get_user(input: &[u8]) {
    let disclosure = disclosure(input);
    let decoded = proto::GetUserResponse::decode(reply(&disclosure).message());
    assert_eq!(decoded.expect("it is a GetUserResponse"), expected(&disclosure));
    let frame = reply(&disclosure).into_frame();
    let length = u32::try_from(frame.len() - 5).unwrap().to_be_bytes();
    assert_eq!(frame.get(..5), Some(&[&[0], &length[..]].concat()[..]), "the frame's header");
}

/// Makes a disclosure: a byte each for the status, the choices and two times, then lines, which are in
/// turn the name and the value of an attribute. Every third name is that of a group too.
fn disclosure(input: &[u8]) -> Disclosure {
    let mut input = Input::new(input);
    let (state, choices, times) = (input.byte(), input.byte(), [input.u16(), input.u16()]);
    let lines: Vec<_> = std::iter::from_fn(|| input.line()).collect();
    let pairs = lines.chunks(2).filter_map(|pair| {
        let name = pair.first()?.parse::<AttributeName>().ok()?;
        Some((name, AttributeValue::from(pair.get(1).cloned().unwrap_or_default())))
    });
    let attributes: BTreeMap<_, _> = pairs.collect();
    let names: Vec<_> = attributes.keys().cloned().collect();
    let groups = names.iter().step_by(3).map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let groups = Groups::try_from(groups).ok().filter(|_| choices & 1 != 0);
    let allowed = match choices & 2 {
        0 => Selection::All,
        _ => Selection::Only(names.into_iter().step_by(2).collect()),
    };
    let time =
        |at: u16| UnixTime::new(UNIX_EPOCH + Duration::from_micros(u64::from(at).pow(3))).filter(|_| at != 0);
    let user = User {
        sub: "ada00000-5a4d-4b0c-8000-000000000001".parse().unwrap(),
        username: "ada@example.com".parse().unwrap(),
        attributes: attributes.into(),
        status: STATUSES[usize::from(state) % STATUSES.len()],
        enabled: choices & 4 != 0,
        created_at: time(times[0]),
        updated_at: time(times[1]),
    };
    Disclosure::for_test(user, Pool::for_test("eu-west-1_A"), allowed, groups, freshness(choices))
}

fn freshness(choices: u8) -> Freshness {
    let reasons = [None, Some(StaleReason::BudgetExhausted), Some(StaleReason::UpstreamUnavailable)];
    let source = [Source::Cache, Source::Cognito, Source::SharedCache][usize::from(choices >> 3) % 3];
    let stale_reason = reasons[usize::from(choices >> 5) % 3];
    Freshness { source, began: now(), age: Duration::from_millis(u64::from(choices)), stale_reason }
}

/// Makes the reply with the generated types.
pub(super) fn expected(disclosure: &Disclosure) -> proto::GetUserResponse {
    let text = |text: &str| text.to_owned();
    let attributes = disclosure.attributes().map(|(name, value)| (text(name), text(value)));
    let user = proto::User {
        sub: text(disclosure.sub().as_str()),
        user_pool_id: text(disclosure.pool().as_str()),
        username: disclosure.username().map(|name| text(name.as_str())).unwrap_or_default(),
        attributes: attributes.collect(),
        status: status(disclosure.status()).into(),
        enabled: disclosure.enabled(),
        created_at: disclosure.created_at().map(Into::into),
        updated_at: disclosure.updated_at().map(Into::into),
        groups: disclosure.groups().iter().flat_map(|groups| groups.names()).map(text).collect(),
    };
    let freshness = super::freshness(disclosure.freshness());
    proto::GetUserResponse { user: Some(user), freshness: Some(freshness) }
}

fn is_sub(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

fn is_pool_id(text: &str) -> bool {
    let is_all = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let parts: Vec<_> = text.split('_').collect();
    let (name, prefix) = parts.split_last().unwrap();
    text.len() <= 55 && is_all(name, "") && is_all(&prefix.join("_"), "_-")
}

fn is_attribute_name(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_freshness(freshness: Option<&get_user_request::Freshness>) -> bool {
    let is_fraction = |nanos: i32| (0..1_000_000_000).contains(&nanos);
    match freshness {
        None => true,
        Some(get_user_request::Freshness::MaxAge(age)) => {
            (0..=315_576_000_000).contains(&age.seconds) && is_fraction(age.nanos)
        }
        Some(get_user_request::Freshness::NotOlderThan(time)) => {
            let latest = (NOW as i64 + 10, 0);
            (-62_135_596_800..=latest.0).contains(&time.seconds)
                && is_fraction(time.nanos)
                && (time.seconds, time.nanos) <= latest
        }
    }
}

fn now() -> TimePoint {
    TimePoint { system: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), boot: BootTime::default() }
}

static REQUEST: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    pool.get_message_by_name("userlookup.v1.GetUserRequest").unwrap()
});

const NOW: u64 = 1_790_000_000;
const STATUSES: [UserStatus; 9] = [
    UserStatus::Archived,
    UserStatus::Compromised,
    UserStatus::Confirmed,
    UserStatus::ExternalProvider,
    UserStatus::ForceChangePassword,
    UserStatus::ResetRequired,
    UserStatus::Unconfirmed,
    UserStatus::Unknown,
    UserStatus::Unrecognised,
];
