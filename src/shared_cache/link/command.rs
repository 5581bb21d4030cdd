//! Commands to the store, and what they return.

use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::{Cmd, Value, cmd};

use super::super::{
    call::{Call, Event, Events, Reply, Script, StreamPosition},
    fault::{Fault, FaultKind},
    namespace::Namespace,
};

/// Returns the command that runs a script which the server knows by its SHA-1.
pub(super) fn evalsha(call: &Call) -> Cmd {
    with_arguments(cmd("EVALSHA"), &sha1(call.script), call)
}

/// Returns the command that runs a script which the server does not know yet.
pub(super) fn eval(call: &Call) -> Cmd {
    with_arguments(cmd("EVAL"), call.script.source, call)
}

fn with_arguments(mut command: Cmd, script: &str, call: &Call) -> Cmd {
    command.arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.args);
    command
}

/// Returns the command that writes a probe key, which expires soon. A `PING` would also be answered
/// by a replica and by a full server.
pub(super) fn probe(namespace: &Namespace, slot_tag: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(PROBE).arg(1).arg(format!("{namespace}:probe:{{{slot_tag}}}"));
    command
}

/// Returns the command that reads what follows a position of a stream.
pub(super) fn xread(key: &str, after: &StreamPosition, wait: Duration) -> Cmd {
    // 0 would wait without end.
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(Events::MOST).arg("BLOCK").arg(millis);
    command.arg("STREAMS").arg(key).arg(&after.0);
    command
}

/// Reads what a script returned.
pub(super) fn reply(value: Value) -> Result<Reply, Fault> {
    Ok(match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::SimpleString(text) => Reply::Bytes(text.into_bytes()),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(values) => Reply::Array(values.into_iter().map(reply).collect::<Result<_, _>>()?),
        _ => return Err(unexpected()),
    })
}

/// Reads what `XREAD` returned: nil, or one stream with its events.
pub(super) fn events(value: Value) -> Result<Events, Fault> {
    let Reply::Array(streams) = reply(value)? else { return Ok(Events::default()) };
    let Some(Reply::Array(stream)) = streams.into_iter().next() else { return Err(unexpected()) };
    let Some(Reply::Array(entries)) = stream.into_iter().nth(1) else { return Err(unexpected()) };
    let events: Option<Vec<_>> = entries.into_iter().map(event).collect();
    events.map(Events).ok_or_else(unexpected)
}

/// Reads an entry: its id, and the fields `n` (its number) and `e` (what it says). An entry without
/// them gets number 0, which no event has, so that the reader sees a gap and reads on.
fn event(entry: Reply) -> Option<Event> {
    let Reply::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let (Some(Reply::Bytes(id)), Some(Reply::Array(fields))) = (parts.next(), parts.next()) else {
        return None;
    };
    let position = StreamPosition(String::from_utf8(id).ok()?);
    let (mut number, mut sealed) = (0, Vec::new());
    let mut fields = fields.into_iter();
    while let (Some(Reply::Bytes(name)), Some(Reply::Bytes(value))) = (fields.next(), fields.next()) {
        match name.as_slice() {
            b"n" => number = str::from_utf8(&value).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
            b"e" => sealed = value,
            // A newer version may add fields.
            _ => {}
        }
    }
    Some(Event { position, number, sealed })
}

fn unexpected() -> Fault {
    Fault::new(FaultKind::Script, "the store returned a value of another type")
}

/// The name by which a server knows a script. It protects nothing.
fn sha1(script: &Script) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, script.source.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

const PROBE: &str = "redis.call('HSET', KEYS[1], 'p', '1') redis.call('PEXPIRE', KEYS[1], 10000) return 1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared_cache::stream::SLOT_TAGS;

    static SCRIPT: Script = Script { name: "test", source: "return 1" };

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn arguments(command: &Cmd) -> Vec<String> {
        let simple = command.args_iter().filter_map(|argument| match argument {
            redis::Arg::Simple(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        });
        simple.collect()
    }

    #[test]
    fn a_call_becomes_a_command() {
        let keys = vec!["k1".to_owned(), "k2".to_owned()];
        let call = Call { script: &SCRIPT, keys, args: vec![b"a".to_vec(), b"b".to_vec()] };
        // printf 'return 1' | sha1sum
        let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(arguments(&evalsha(&call)), ["EVALSHA", sha, "2", "k1", "k2", "a", "b"]);
        assert_eq!(arguments(&eval(&call)), ["EVAL", "return 1", "2", "k1", "k2", "a", "b"]);
        let read = xread("s", &StreamPosition("5-1".to_owned()), Duration::ZERO);
        assert_eq!(arguments(&read), ["XREAD", "COUNT", "1000", "BLOCK", "1", "STREAMS", "s", "5-1"]);
        assert_eq!(arguments(&probe(&"cl".parse().unwrap(), "kz"))[2..], ["1", "cl:probe:{kz}"]);
    }

    #[test]
    fn replies_are_read() {
        let nested = Value::Array(vec![Value::Int(1), Value::Nil, bulk("x"), Value::Okay]);
        let expected = [Reply::Int(1), Reply::Nil, Reply::Bytes(b"x".into()), Reply::Bytes(b"OK".into())];
        assert_eq!(reply(nested), Ok(Reply::Array(expected.to_vec())));
        assert_eq!(reply(Value::Double(1.0)).unwrap_err().kind, FaultKind::Script);
    }

    #[test]
    fn events_are_read() {
        let entry = |id, fields: &[&str]| {
            Value::Array(vec![bulk(id), Value::Array(fields.iter().copied().map(bulk).collect())])
        };
        let stream = |entries| Value::Array(vec![Value::Array(vec![bulk("s"), Value::Array(entries)])]);
        let event = |id: &str, number, sealed: &str| Event {
            position: StreamPosition(id.to_owned()),
            number,
            sealed: sealed.into(),
        };
        let entries = vec![
            entry("1-0", &["n", "7", "e", "x"]),
            entry("1-1", &["later", "?", "e", "y", "n", "8"]),
            entry("1-2", &["n", "many", "e", "z"]),
            entry("1-3", &[]),
        ];
        let expected =
            vec![event("1-0", 7, "x"), event("1-1", 8, "y"), event("1-2", 0, "z"), event("1-3", 0, "")];
        assert_eq!(events(stream(entries)), Ok(Events(expected)));
        assert_eq!(events(Value::Nil), Ok(Events::default()), "the time is up");
        for odd in [Value::Array(vec![]), stream(vec![bulk("x")]), Value::Array(vec![bulk("s")])] {
            assert_eq!(events(odd.clone()).unwrap_err().kind, FaultKind::Script, "{odd:?}");
        }
    }

    #[test]
    fn the_probes_cover_a_cluster() {
        for (quarter, tag) in SLOT_TAGS.iter().enumerate() {
            assert_eq!(usize::from(crc16(tag.as_bytes()) % 16384) / 4096, quarter, "{tag}");
        }
    }

    /// CRC-16/XMODEM, by which a cluster maps keys to slots.
    fn crc16(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc: u16, byte| {
            (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
                (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
            })
        })
    }
}
