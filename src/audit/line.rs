//! One line of JSON, field by field. Deriving `Serialize` instead costs 11 % more instructions for
//! a cache hit, because it escapes keys and looks at each byte of each value.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use humantime::format_rfc3339_millis;
use serde::Serialize;
use serde_json::json;

use crate::auth::Address;

/// Expands to the beginning of a JSON member: comma, quoted name and colon. Not for the first member of an
/// object, nor for a name that needs an escape.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

pub(super) use member;

/// A JSON object on its own line.
pub(super) struct JsonLine<'a>(&'a mut Vec<u8>);

impl<'a> JsonLine<'a> {
    /// Begins an object after the lines that are there, with the members of [`head`]. The prefix of
    /// each further one is made by [`member!`].
    pub(super) fn begin(lines: &'a mut Vec<u8>, head: &[u8]) -> Self {
        lines.extend_from_slice(head);
        Self(lines)
    }

    /// Puts a text, or null for none.
    pub(super) fn text<'t>(&mut self, prefix: &'static str, text: impl Into<Option<&'t str>>) {
        self.0.extend_from_slice(prefix.as_bytes());
        match text.into() {
            Some(text) => put_text(self.0, text),
            None => self.0.extend_from_slice(b"null"),
        }
    }

    /// Puts a time of the years 1970 to 9999: RFC 3339, in UTC, with milliseconds.
    pub(super) fn time(&mut self, prefix: &'static str, time: SystemTime) {
        self.0.extend_from_slice(prefix.as_bytes());
        // Writing to memory cannot fail.
        let _ = write!(self.0, "\"{}\"", format_rfc3339_millis(time));
    }

    /// Puts the address of a peer, or null for none.
    pub(super) fn address(&mut self, prefix: &'static str, address: Option<Address>) {
        self.0.extend_from_slice(prefix.as_bytes());
        let json = &mut *self.0;
        match address {
            None => json.extend_from_slice(b"null"),
            Some(Address::Unix) => json.extend_from_slice(b"\"unix\""),
            Some(Address::Ip(address)) => {
                json.push(b'"');
                // A dual-stack socket reports an IPv4 peer as ::ffff:a.b.c.d.
                match address.to_canonical() {
                    IpAddr::V4(address) => put_ipv4(json, address),
                    // Writing to memory cannot fail.
                    IpAddr::V6(address) => _ = write!(json, "{address}"),
                }
                json.push(b'"');
            }
        }
    }

    pub(super) fn number(&mut self, prefix: &'static str, number: impl Serialize) {
        self.0.extend_from_slice(prefix.as_bytes());
        put_json(self.0, &number);
    }

    /// Puts a list of the items that [`put_item`] has put.
    pub(super) fn list(&mut self, prefix: &'static str, items: &[u8]) {
        self.0.extend_from_slice(prefix.as_bytes());
        self.0.push(b'[');
        self.0.extend_from_slice(items);
        self.0.push(b']');
    }

    /// Ends the object and the line.
    pub(super) fn end(self) {
        self.0.extend_from_slice(b"}\n");
    }
}

/// Returns the members that begin every record of a process, because they are the same in all of
/// them.
pub(super) fn head(replica: &str, key_id: &str) -> Box<[u8]> {
    let mut head = Vec::new();
    put_json(&mut head, &json!({"schema": SCHEMA, "replica": replica, "key_id": key_id}));
    // The closing brace.
    head.pop();
    head.into()
}

/// Puts a text as one more item of a list.
pub(super) fn put_item(items: &mut Vec<u8>, text: &str) {
    if !items.is_empty() {
        items.push(b',');
    }
    put_text(items, text);
}

/// Puts an IPv4 address. The standard library's formatting takes several times as long.
fn put_ipv4(json: &mut Vec<u8>, address: Ipv4Addr) {
    for (n, octet) in address.octets().into_iter().enumerate() {
        if n > 0 {
            json.push(b'.');
        }
        for (least, divisor) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                json.push(b'0' + octet / divisor % 10);
            }
        }
    }
}

fn put_text(json: &mut Vec<u8>, text: &str) {
    // Without an early return this loop handles many bytes at once.
    let others = text.bytes().map(|byte| u8::from(!is_plain(byte))).fold(0, |others, byte| others | byte);
    if others == 0 {
        json.push(b'"');
        json.extend_from_slice(text.as_bytes());
        json.push(b'"');
    } else {
        put_json(json, text);
    }
}

fn put_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    // Writing texts, numbers and objects of them to memory cannot fail.
    drop(serde_json::to_writer(json, value));
}

/// Whether this is printable ASCII that needs no escape in a JSON string (RFC 8259, section 7).
const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte <= b'~') & (byte != b'"') & (byte != b'\\')
}

// The version of the record format. It changes if a member is removed or changes its meaning, but
// not for a new member.
const SCHEMA: u32 = 1;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_json_parser_reads_what_was_written() {
        for text in ["", "plain", "~ !", "a\"b", "a\\b", "\n\r\u{0}\u{1f}", "\u{7f}", "é\u{2028}🦀", "{"] {
            let mut lines = b"{".to_vec();
            let mut items = Vec::new();
            [text, ""].into_iter().for_each(|text| put_item(&mut items, text));
            let mut line = JsonLine::begin(&mut lines, HEAD);
            line.text(member!("text"), text);
            line.text(member!("none"), None);
            line.text(member!("some"), Some(text));
            line.number(member!("number"), -7);
            line.list(member!("list"), &items);
            line.end();
            let line = lines.strip_prefix(b"{").unwrap().strip_suffix(b"\n").unwrap();
            let expected =
                json!({"a": 1, "text": text, "none": null, "some": text, "number": -7, "list": [text, ""]});
            assert_eq!(serde_json::from_slice::<Value>(line).unwrap(), expected);
            assert!(!line.contains(&b'\n'), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_written_as_the_standard_library_writes_it() {
        for text in ["0.0.0.0", "127.0.0.1", "10.20.100.199", "255.255.255.255", "::1", "2001:db8::7"] {
            let mut lines = Vec::new();
            JsonLine::begin(&mut lines, HEAD)
                .address(member!("peer"), Some(Address::Ip(text.parse().unwrap())));
            assert_eq!(String::from_utf8(lines).unwrap(), format!("{{\"a\":1,\"peer\":\"{text}\""));
        }
        let mapped = Address::Ip("::ffff:10.0.0.1".parse().unwrap());
        for (address, expected) in
            [(None, "null"), (Some(Address::Unix), "\"unix\""), (Some(mapped), "\"10.0.0.1\"")]
        {
            let mut lines = Vec::new();
            JsonLine::begin(&mut lines, HEAD).address(member!("peer"), address);
            assert_eq!(String::from_utf8(lines).unwrap(), format!("{{\"a\":1,\"peer\":{expected}"));
        }
    }

    const HEAD: &[u8] = b"{\"a\":1";
}
