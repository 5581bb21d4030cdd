//! One record as a line of JSON. It has no personal data: no attribute value, no token and no bare
//! `sub`.

use std::time::SystemTime;

use super::{
    key::SubHash,
    line::{JsonLine, member, put_item},
    names::AttributeNames,
};
use crate::{
    auth::{Address, Principal, Revocation, RevokedTokens},
    changes::ChangeKinds,
    freshness::{Freshness, Source, StaleReason},
    proto::EraseUserResponse,
};

/// The record of a call, or of one user of a batch.
pub(super) struct Record<'a> {
    pub(super) time: SystemTime,
    pub(super) request_id: &'a str,
    pub(super) method: &'static str,
    /// The address that the call came from.
    pub(super) peer: Option<Address>,
    /// The name of the caller's rule.
    pub(super) caller: Option<&'a str>,
    /// The principal that identified the caller.
    pub(super) principal: Option<&'a Principal>,
    pub(super) pool: Option<&'a str>,
    pub(super) sub_hash: Option<SubHash>,
    /// The number of users that the record counts but does not name; left out if 0.
    pub(super) users: usize,
    /// The released attributes, or the requested ones if none were released.
    pub(super) attributes: &'a AttributeNames,
    pub(super) freshness: Option<Freshness>,
    pub(super) erasure: Option<&'a EraseUserResponse>,
    pub(super) revocation: Option<&'a Revocation>,
    /// The kinds of a change that was sent.
    pub(super) kinds: Option<ChangeKinds>,
    /// How many changes were sent on a stream, in the record of its end.
    pub(super) changes: Option<u64>,
    /// What a reload of the settings changes.
    pub(super) settings: Option<&'a [String]>,
    pub(super) outcome: &'static str,
}

impl<'a> Record<'a> {
    /// Makes a record without a caller and without a user.
    pub(super) fn new(
        time: SystemTime,
        (method, request_id): (&'static str, &'a str),
        attributes: &'a AttributeNames,
        outcome: &'static str,
    ) -> Self {
        Self {
            time,
            request_id,
            method,
            peer: None,
            caller: None,
            principal: None,
            pool: None,
            sub_hash: None,
            users: 0,
            attributes,
            freshness: None,
            erasure: None,
            revocation: None,
            kinds: None,
            changes: None,
            settings: None,
            outcome,
        }
    }

    /// Appends the record, which begins with `head`, and a line end.
    pub(super) fn append_to(&self, lines: &mut Vec<u8>, head: &[u8]) {
        let mut line = JsonLine::begin(lines, head);
        line.time(member!("time"), self.time);
        line.text(member!("request_id"), self.request_id);
        line.text(member!("method"), self.method);
        line.address(member!("peer"), self.peer);
        line.text(member!("caller"), self.caller);
        line.text(member!("principal_kind"), self.principal.map(|principal| principal.kind));
        line.text(member!("principal"), self.principal.map(|principal| &*principal.name));
        line.text(member!("pool"), self.pool);
        line.text(member!("sub_hash"), self.sub_hash.as_ref().map(SubHash::as_str));
        if self.users > 0 {
            line.number(member!("users"), self.users);
        }
        line.list(member!("attributes"), &self.attributes.items);
        if self.attributes.left_out > 0 {
            line.number(member!("attributes_left_out"), self.attributes.left_out);
        }
        if let Some(freshness) = self.freshness {
            put_freshness(&mut line, freshness);
        }
        if let Some(EraseUserResponse { receipt_id, entries, absences, verdicts, fetches, .. }) = self.erasure
        {
            line.text(member!("receipt_id"), &**receipt_id);
            line.number(member!("entries"), entries);
            line.number(member!("absences"), absences);
            line.number(member!("verdicts"), verdicts);
            line.number(member!("fetches"), fetches);
        }
        if let Some(revocation) = self.revocation {
            put_revocation(&mut line, revocation);
        }
        if let Some(kinds) = self.kinds {
            let mut items = Vec::new();
            kinds.iter().for_each(|kind| put_item(&mut items, kind.text()));
            line.list(member!("kinds"), &items);
        }
        if let Some(changes) = self.changes {
            line.number(member!("changes"), changes);
        }
        if let Some(settings) = self.settings {
            let mut items = Vec::new();
            settings.iter().for_each(|change| put_item(&mut items, change));
            line.list(member!("settings"), &items);
        }
        line.text(member!("outcome"), self.outcome);
        line.end();
    }
}

fn put_revocation(line: &mut JsonLine<'_>, revocation: &Revocation) {
    match revocation.tokens {
        RevokedTokens::OfFamily(_) => line.text(member!("revoked"), "family"),
        RevokedTokens::SuspectsOfUser(_) => line.text(member!("revoked"), "suspects"),
        RevokedTokens::OfUser(_) => {
            line.text(member!("revoked"), "issued_until");
            line.time(member!("issued_until"), revocation.at);
        }
    }
}

fn put_freshness(line: &mut JsonLine<'_>, freshness: Freshness) {
    let source = match freshness.source {
        Source::Cache => "CACHE",
        Source::Cognito => "COGNITO",
        Source::SharedCache => "SHARED_CACHE",
    };
    let stale_reason = freshness.stale_reason.map(|reason| match reason {
        StaleReason::BudgetExhausted => "BUDGET_EXHAUSTED",
        StaleReason::UpstreamThrottled => "UPSTREAM_THROTTLED",
        StaleReason::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
    });
    line.text(member!("source"), source);
    line.number(member!("age_ms"), u64::try_from(freshness.age.as_millis()).unwrap_or(u64::MAX));
    line.text(member!("stale_reason"), stale_reason);
}

#[cfg(test)]
mod tests {
    use std::{
        sync::LazyLock,
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;
    use crate::{audit::names::tests::requested, auth::TokenFamily, clock::TimePoint};

    #[test]
    fn a_record_is_one_line_of_json() {
        let names = AttributeNames::released(["custom:plan", "email"].into_iter());
        let (none, long) = (AttributeNames::default(), format!("custom:{}", "x".repeat(26)));
        let requested = requested(&["custom:a\"b\\c", "custom:é", &long, "ada@example.com", "nickname"]);
        let fresh = Freshness {
            source: Source::Cache,
            began: TimePoint::now(),
            age: Duration::from_micros(1_234_999),
            stale_reason: None,
        };
        let fetched = Freshness { source: Source::Cognito, ..fresh };
        let erasure = EraseUserResponse {
            receipt_id: "e-1".to_owned(),
            entries: 1,
            verdicts: 2,
            fetches: 3,
            ..EraseUserResponse::default()
        };
        let stale = Freshness { stale_reason: Some(StaleReason::UpstreamThrottled), ..fresh };
        let table = [
            (
                Record { freshness: Some(fresh), ..record(&names, "released") },
                r#"{"schema":1,"replica":"r","key_id":"k","time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","peer":"10.0.0.7","caller":"web","principal_kind":"rule","principal":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","attributes":["custom:plan","email"],"source":"CACHE","age_ms":1234,"stale_reason":null,"outcome":"released"}"#,
            ),
            (
                Record {
                    freshness: Some(stale),
                    caller: Some("a\"\n\u{2028}"),
                    ..record(&names, "released")
                },
                "{\"schema\":1,\"replica\":\"r\",\"key_id\":\"k\",\"time\":\"2026-11-25T13:52:26.007Z\",\"request_id\":\"r-1\",\"method\":\"s/M\",\"peer\":\"10.0.0.7\",\"caller\":\"a\\\"\\n\u{2028}\",\"principal_kind\":\"rule\",\"principal\":\"web\",\"pool\":\"p_1\",\"sub_hash\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"attributes\":[\"custom:plan\",\"email\"],\"source\":\"CACHE\",\"age_ms\":1234,\"stale_reason\":\"UPSTREAM_THROTTLED\",\"outcome\":\"released\"}",
            ),
            (
                Record { users: 7, freshness: Some(fetched), ..record(&none, "released") },
                r#"{"schema":1,"replica":"r","key_id":"k","time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","peer":"10.0.0.7","caller":"web","principal_kind":"rule","principal":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","users":7,"attributes":[],"source":"COGNITO","age_ms":1234,"stale_reason":null,"outcome":"released"}"#,
            ),
            (
                Record { erasure: Some(&erasure), ..record(&none, "answered") },
                r#"{"schema":1,"replica":"r","key_id":"k","time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","peer":"10.0.0.7","caller":"web","principal_kind":"rule","principal":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","attributes":[],"receipt_id":"e-1","entries":1,"absences":0,"verdicts":2,"fetches":3,"outcome":"answered"}"#,
            ),
            (
                Record {
                    peer: None,
                    caller: None,
                    principal: None,
                    pool: None,
                    sub_hash: None,
                    ..record(&none, "TOKEN_EXPIRED")
                },
                r#"{"schema":1,"replica":"r","key_id":"k","time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","peer":null,"caller":null,"principal_kind":null,"principal":null,"pool":null,"sub_hash":null,"attributes":[],"outcome":"TOKEN_EXPIRED"}"#,
            ),
            (
                record(&requested, "ATTRIBUTE_NOT_ALLOWED"),
                r#"{"schema":1,"replica":"r","key_id":"k","time":"2026-11-25T13:52:26.007Z","request_id":"r-1","method":"s/M","peer":"10.0.0.7","caller":"web","principal_kind":"rule","principal":"web","pool":"p_1","sub_hash":"0000000000000000000000000000000000000000000000000000000000000000","attributes":["custom:a\"b\\c","custom:é","nickname"],"attributes_left_out":2,"outcome":"ATTRIBUTE_NOT_ALLOWED"}"#,
            ),
        ];
        for (record, expected) in table {
            let mut lines = b"before\n".to_vec();
            record.append_to(&mut lines, br#"{"schema":1,"replica":"r","key_id":"k""#);
            assert_eq!(String::from_utf8(lines).unwrap(), format!("before\n{expected}\n"));
        }
    }

    #[test]
    fn a_record_of_a_revocation_says_which_tokens() {
        let at = UNIX_EPOCH + Duration::from_secs(1_795_614_746);
        let table = [
            (
                RevokedTokens::OfUser("ada".parse().unwrap()),
                r#""revoked":"issued_until","issued_until":"2026-11-25T13:52:26.000Z","#,
            ),
            (RevokedTokens::OfFamily(TokenFamily::of("a sign-in")), r#""revoked":"family","#),
        ];
        for (tokens, expected) in table {
            let revocation = Revocation { pool: "p_1".parse().unwrap(), tokens, at };
            let (mut line, none) = (Vec::new(), AttributeNames::default());
            Record { revocation: Some(&revocation), ..record(&none, "answered") }
                .append_to(&mut line, b"{\"schema\":1");
            let line = String::from_utf8(line).unwrap();
            assert!(
                line.contains(&format!("\"attributes\":[],{expected}\"outcome\":\"answered\"}}")),
                "{line}"
            );
        }
    }

    fn record<'a>(attributes: &'a AttributeNames, outcome: &'static str) -> Record<'a> {
        let time = UNIX_EPOCH + Duration::from_micros(1_795_614_746_007_900);
        Record {
            peer: Some(Address::Ip([10, 0, 0, 7].into())),
            caller: Some("web"),
            principal: Some(&PRINCIPAL),
            pool: Some("p_1"),
            sub_hash: Some(SubHash([b'0'; 64])),
            ..Record::new(time, ("s/M", "r-1"), attributes, outcome)
        }
    }

    static PRINCIPAL: LazyLock<Principal> = LazyLock::new(|| Principal::rule("web"));
}
