//! One record as a line of JSON. There is nothing in it that is personal: no value, no token, no bare `sub`.

use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use serde::{Serialize, Serializer};

use super::key::SubHash;
use crate::{
    attribute::AttributeName,
    freshness::{Freshness, Source, StaleReason},
    query::Query,
};

/// What is kept of one release or refusal.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    #[serde(serialize_with = "rfc3339")]
    pub(super) time: SystemTime,
    pub(super) request_id: &'a str,
    pub(super) method: &'static str,
    /// The name of its rule.
    pub(super) caller: Option<&'a str>,
    pub(super) pool: Option<&'a str>,
    pub(super) sub_hash: Option<SubHash>,
    /// How many users it is about who are not named.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) users: usize,
    /// Those released, or of a call that released nothing those asked for by name.
    pub(super) attributes: &'a Names,
    /// How many more were asked for that are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) attributes_left_out: usize,
    #[serde(flatten)]
    pub(super) freshness: Option<Age>,
    #[serde(flatten)]
    pub(super) erasure: Option<&'a Erasure>,
    pub(super) outcome: &'static str,
}

impl Record<'_> {
    /// Appends the record and a line end.
    pub(super) fn append_to(&self, lines: &mut Vec<u8>) {
        // Neither can memory fail to be written nor this record to be JSON.
        drop(serde_json::to_writer(&mut *lines, self));
        lines.push(b'\n');
    }
}

/// How fresh was what was released.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Age {
    source: &'static str,
    age_ms: u64,
    stale_reason: Option<&'static str>,
}

impl From<Freshness> for Age {
    fn from(freshness: Freshness) -> Self {
        Self {
            source: match freshness.source {
                Source::Cache => "CACHE",
                Source::Cognito => "COGNITO",
            },
            age_ms: freshness.age.as_millis().try_into().unwrap_or(u64::MAX),
            stale_reason: freshness.stale_reason.map(|reason| match reason {
                StaleReason::BudgetExhausted => "BUDGET_EXHAUSTED",
                StaleReason::UpstreamThrottled => "UPSTREAM_THROTTLED",
                StaleReason::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            }),
        }
    }
}

/// What an erasure is called in its receipt, and how many of each it removed or fenced off.
#[derive(Debug, Serialize)]
pub struct Erasure {
    /// What it is called.
    pub receipt_id: String,
    /// Users, with their groups.
    pub entries: i32,
    /// Absences.
    pub absences: i32,
    /// Verdicts on tokens.
    pub verdicts: i32,
    /// Fetches under way.
    pub fetches: i32,
}

/// Names of attributes, which have no white space in them, in one text.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    pub(super) left_out: usize,
}

impl Names {
    /// Lists names that were released, all of them.
    pub(super) fn released<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut listed = Self { text: String::with_capacity(USUAL_NAMES_BYTES), left_out: 0 };
        names.for_each(|name| listed.push(name));
        listed
    }

    /// Lists names that a caller wrote, so far as a pool can have such an attribute, and 1 KiB of them at most: into the
    /// others somebody may have written a `sub`, an address or a part of a token.
    pub(super) fn asked(query: &Query) -> Self {
        let mut listed = Self::default();
        for name in query.attributes.named() {
            listed.push_known(name);
        }
        if query.include_groups {
            listed.push("groups");
        }
        listed
    }

    fn push_known(&mut self, name: &AttributeName) {
        let (is_known, name) = (name.is_known(), name.as_str());
        if is_known && name.len() <= MAX_NAME_BYTES && self.text.len() + name.len() <= MAX_ASKED_BYTES {
            self.push(name);
        } else {
            self.left_out += 1;
        }
    }

    fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.text.push(' ');
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_seq(self.text.split_terminator(' '))
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, sink: S) -> Result<S::Ok, S::Error> {
    sink.collect_str(&format_rfc3339_millis(*time))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's way to ask")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

// AttributeType.Name, API reference; a UUID has 36.
const MAX_NAME_BYTES: usize = 32;
const MAX_ASKED_BYTES: usize = 1024;
// Of a dozen short names, so that it seldom grows.
const USUAL_NAMES_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{attribute::Selection, freshness::Demand};

    #[test]
    fn a_record_is_a_line_of_json() {
        let names = Names::released(["custom:plan", "email"].into_iter());
        let (none, long) = (Names::default(), format!("custom:{}", "x".repeat(26)));
        let asked = asked(&["custom:a\"b\\c", "custom:é", &long, "ada@example.com", "nickname"]);
        let fresh = Freshness {
            source: Source::Cache,
            fetched_at: UNIX_EPOCH,
            age: Duration::from_micros(1_234_999),
            stale_reason: None,
        };
        let stale = Freshness { stale_reason: Some(StaleReason::UpstreamThrottled), ..fresh };
        let table = [
            (
                Record { freshness: Some(fresh.into()), ..record(&names, "released") },
                r#"{"time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","caller":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","attributes":["custom:plan","email"],"source":"CACHE","age_ms":1234,"stale_reason":null,"outcome":"released"}"#,
            ),
            (
                Record {
                    freshness: Some(stale.into()),
                    caller: Some("a\"\n\u{2028}"),
                    ..record(&names, "released")
                },
                "{\"time\":\"2026-11-25T13:52:26.007Z\",\"request_id\":\"r-1\",\"method\":\"s/M\",\"caller\":\"a\\\"\\n\u{2028}\",\"pool\":\"p_1\",\"sub_hash\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"attributes\":[\"custom:plan\",\"email\"],\"source\":\"CACHE\",\"age_ms\":1234,\"stale_reason\":\"UPSTREAM_THROTTLED\",\"outcome\":\"released\"}",
            ),
            (
                Record { caller: None, pool: None, sub_hash: None, ..record(&none, "TOKEN_EXPIRED") },
                r#"{"time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","caller":null,"pool":null,"sub_hash":null,"attributes":[],"outcome":"TOKEN_EXPIRED"}"#,
            ),
            (
                record(&asked, "ATTRIBUTE_NOT_ALLOWED"),
                r#"{"time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","caller":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","attributes":["custom:a\"b\\c","custom:é","nickname"],"attributes_left_out":2,"outcome":"ATTRIBUTE_NOT_ALLOWED"}"#,
            ),
        ];
        for (record, expected) in table {
            let mut lines = b"before\n".to_vec();
            record.append_to(&mut lines);
            assert_eq!(String::from_utf8(lines).unwrap(), format!("before\n{expected}\n"));
        }
    }

    #[test]
    fn what_a_caller_wrote_is_bounded() {
        let names: Vec<String> = (0..100).map(|n| format!("custom:{n:025}")).collect();
        let asked = asked(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(asked.text.len() <= MAX_ASKED_BYTES + 1, "{}", asked.text.len());
        assert_eq!(asked.text.split_terminator(' ').count() + asked.left_out, 100);
        assert!(asked.left_out < 75);
    }

    fn asked(names: &[&str]) -> Names {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        Names::asked(&Query {
            sub: None,
            pool: None,
            attributes: Selection::Only(names),
            include_groups: false,
            demand: Demand::ANY,
        })
    }

    fn record<'a>(attributes: &'a Names, outcome: &'static str) -> Record<'a> {
        Record {
            time: UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900),
            request_id: "r-1",
            method: "s/M",
            caller: Some("web"),
            pool: Some("p_1"),
            sub_hash: Some(SubHash([b'0'; 64])),
            users: 0,
            attributes,
            attributes_left_out: attributes.left_out,
            freshness: None,
            erasure: None,
            outcome,
        }
    }
}
