//! Messages written field by field, straight from what may leave: without a copy of it as a message first, which was a
//! third of a hit's allocations.

use std::fmt;

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{self, DecodeContext, WireType},
};

/// A message that is to be sent, encoded; its `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Encoded(pub(super) Vec<u8>);

/// An entry of a map from text to text.
pub(super) fn put_pair(field: u32, key: &str, value: &str, message: &mut Vec<u8>) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    encoding::encode_varint(length(field_bytes(1, key) + field_bytes(2, value)), message);
    put_text(1, key, message);
    put_text(2, value, message);
}

pub(super) fn put_text(field: u32, text: &str, message: &mut Vec<u8>) {
    put_bytes(field, text.as_bytes(), message);
}

/// A field that is text, or a message that is encoded.
pub(super) fn put_bytes(field: u32, bytes: &[u8], message: &mut Vec<u8>) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    encoding::encode_varint(length(bytes.len()), message);
    message.extend_from_slice(bytes);
}

fn field_bytes(field: u32, text: &str) -> usize {
    encoding::key_len(field) + encoding::encoded_len_varint(length(text.len())) + text.len()
}

fn length(bytes: usize) -> u64 {
    bytes.try_into().unwrap_or(u64::MAX)
}

/// It is sent only: who receives one has the generated type.
impl Message for Encoded {
    fn encode_raw(&self, bytes: &mut impl BufMut) {
        bytes.put_slice(&self.0);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn merge_field(
        &mut self,
        field: u32,
        wire_type: WireType,
        bytes: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::skip_field(wire_type, field, bytes, context)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoded(redacted)")
    }
}
