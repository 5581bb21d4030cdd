//! Encodes replies field by field, straight from a disclosure. The generated messages would
//! allocate a copy of every name and value first, on the path of each cache hit.

use std::fmt;

use prost::{
    Message,
    encoding::{self, WireType},
};

/// An encoded message, with room in front for the header of its frame.
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// Encodes a message.
    pub fn from_message(message: &impl Message) -> Self {
        Self::write(message.encoded_len(), |bytes| message.encode_raw(bytes))
    }

    /// Encodes what `write` appends; `capacity` is its expected size in bytes.
    pub(super) fn write(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut encoded = Vec::with_capacity(FRAME_HEADER_BYTES + capacity);
        encoded.extend([0; FRAME_HEADER_BYTES]);
        write(&mut encoded);
        Self(encoded)
    }

    /// Returns the message in its frame, not compressed.
    pub fn into_frame(mut self) -> Vec<u8> {
        if let Some(([_, length @ ..], message)) = self.0.split_first_chunk_mut::<FRAME_HEADER_BYTES>() {
            // The largest message is a batch of 4 MiB.
            *length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        }
        self.0
    }

    #[cfg(any(test, feature = "fuzzing"))]
    #[allow(clippy::indexing_slicing, reason = "the header is always there")]
    pub(super) fn message(&self) -> &[u8] {
        &self.0[FRAME_HEADER_BYTES..]
    }
}

/// Appends an entry of a map from string to string.
pub(super) fn put_pair(field: u32, key: &str, value: &str, message: &mut Vec<u8>) {
    put_tag(field, field_bytes(1, key) + field_bytes(2, value), message);
    put_text(1, key, message);
    put_text(2, value, message);
}

/// Appends a string field.
pub(super) fn put_text(field: u32, text: &str, message: &mut Vec<u8>) {
    put_tag(field, text.len(), message);
    message.extend_from_slice(text.as_bytes());
}

/// Appends the key and the length of a length-delimited field.
fn put_tag(field: u32, bytes: usize, message: &mut Vec<u8>) {
    match (u8::try_from(field), u8::try_from(bytes)) {
        // One byte each, which is the usual case and several times as fast as the general one.
        (Ok(field @ ..16), Ok(bytes @ ..128)) => {
            message.extend_from_slice(&[field << 3 | WireType::LengthDelimited as u8, bytes]);
        }
        _ => {
            encoding::encode_key(field, WireType::LengthDelimited, message);
            encoding::encode_varint(length(bytes), message);
        }
    }
}

/// Appends a field that is a message, whose content `write` appends.
pub(super) fn put_message(field: u32, message: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    let begin = message.len();
    write(message);
    let end = message.len();
    let bytes = length(end - begin);
    // The length stands before the content but is known only now, so the content moves.
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

/// A frame's header: a byte of flags and four of length ("Length-Prefixed-Message").
pub const FRAME_HEADER_BYTES: usize = 5;
