//! Messages written field by field, straight from what may leave: a copy of it as a message first would have an allocation
//! for each name and value.

use std::fmt;

use bytes::Bytes;
use prost::{
    Message,
    encoding::{self, WireType},
};

/// A message that is to be sent, encoded, behind the room for the head of its frame; its `Debug` shows nothing of it.
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// Encodes a message.
    pub fn from_message(message: &impl Message) -> Self {
        Self::write(message.encoded_len(), |bytes| message.encode_raw(bytes))
    }

    /// Has `write` append a message of about so many `bytes` behind the room for the head.
    pub(super) fn write(bytes: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut encoded = Vec::with_capacity(FRAME_HEADER_BYTES + bytes);
        encoded.extend([0; FRAME_HEADER_BYTES]);
        write(&mut encoded);
        Self(encoded)
    }

    /// Puts the message into its frame, not compressed (gRPC over HTTP/2, "Length-Prefixed-Message").
    pub fn into_frame(mut self) -> Bytes {
        if let Some(([_, length @ ..], message)) = self.0.split_first_chunk_mut::<FRAME_HEADER_BYTES>() {
            // The largest is a batch of 4 MiB.
            *length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        }
        self.0.into()
    }

    #[cfg(test)]
    pub(super) fn message(&self) -> &[u8] {
        &self.0[FRAME_HEADER_BYTES..]
    }
}

/// An entry of a map from text to text.
pub(super) fn put_pair(field: u32, key: &str, value: &str, message: &mut Vec<u8>) {
    put_tag(field, field_bytes(1, key) + field_bytes(2, value), message);
    put_text(1, key, message);
    put_text(2, value, message);
}

pub(super) fn put_text(field: u32, text: &str, message: &mut Vec<u8>) {
    put_tag(field, text.len(), message);
    message.extend_from_slice(text.as_bytes());
}

/// The key and the length of a field of so many bytes.
fn put_tag(field: u32, bytes: usize, message: &mut Vec<u8>) {
    match (u8::try_from(field), u8::try_from(bytes)) {
        // Nearly always, and several times as fast: a byte each.
        (Ok(field @ ..16), Ok(bytes @ ..128)) => {
            message.extend_from_slice(&[field << 3 | WireType::LengthDelimited as u8, bytes]);
        }
        _ => {
            encoding::encode_key(field, WireType::LengthDelimited, message);
            encoding::encode_varint(length(bytes), message);
        }
    }
}

/// A field that is a message, which `write` puts behind what is there.
pub(super) fn put_message(field: u32, message: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    let begin = message.len();
    write(message);
    let end = message.len();
    let bytes = length(end - begin);
    // How long it is, is known now only, and stands before it.
    let room = encoding::encoded_len_varint(bytes);
    message.resize(end + room, 0);
    message.copy_within(begin..end, begin + room);
    encoding::encode_varint(bytes, &mut message.get_mut(begin..).unwrap_or_default());
}

fn field_bytes(field: u32, text: &str) -> usize {
    encoding::key_len(field) + encoding::encoded_len_varint(length(text.len())) + text.len()
}

fn length(bytes: usize) -> u64 {
    bytes.try_into().unwrap_or(u64::MAX)
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded(redacted)")
    }
}

/// The bytes before a message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
pub const FRAME_HEADER_BYTES: usize = 5;
