//! Base64url without padding (RFC 4648, section 5), one bit after the other.

/// Encodes bytes.
pub(crate) fn encode_base64url(bytes: &[u8]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let bits: Vec<u8> = bits.collect();
    let value = |digit: &[u8]| (0..6).fold(0, |value, at| value << 1 | digit.get(at).unwrap_or(&0));
    bits.chunks(6).map(|digit| char::from(ALPHABET[usize::from(value(digit))])).collect()
}

/// Decodes a text; none unless it is the one text that encodes these bytes.
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|digit| *digit == byte)?;
        bits.extend((0..6).rev().map(|at| (value >> at & 1) as u8));
    }
    let bytes = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | bit));
    let bytes: Vec<u8> = bytes.collect();
    (encode_base64url(&bytes) == text).then_some(bytes)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_and_no_other_spelling_are_decoded() {
        for (text, bytes) in [("", &b""[..]), ("Zg", b"f"), ("Zm9vYmE", b"fooba"), ("-_8", b"\xfb\xff")] {
            assert_eq!(
                (encode_base64url(bytes), decode_base64url(text)),
                (text.to_owned(), Some(bytes.into()))
            );
        }
        for other in ["Z", "Zh", "Zg==", "Zg ", "+/8", "Zm9vYmF", "Zm9v\n"] {
            assert_eq!(decode_base64url(other), None, "{other}");
        }
    }
}
