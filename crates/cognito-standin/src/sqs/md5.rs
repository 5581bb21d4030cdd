//! MD5 (RFC 1321), by which SDKs check that a message arrived intact. It protects nothing.

/// Returns the MD5 digest of `text` in hexadecimal.
pub(super) fn md5(text: &str) -> String {
    let digest = padded(text.as_bytes()).chunks_exact(64).fold(START, add_block);
    digest.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

fn padded(text: &[u8]) -> Vec<u8> {
    let bits = (text.len() as u64).wrapping_mul(8);
    let mut bytes = text.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend(bits.to_le_bytes());
    bytes
}

fn add_block(digest: [u32; 4], block: &[u8]) -> [u32; 4] {
    let words: Vec<u32> =
        block.chunks_exact(4).filter_map(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes).collect();
    let word = |at: usize| words.get(at % 16).copied().unwrap_or_default();
    let [mut a, mut b, mut c, mut d] = digest;
    for (round, shifts) in SHIFTS.iter().enumerate() {
        for (step, shift) in (round * 16..).zip(shifts.iter().cycle().take(16)) {
            let (mixed, at) = match round {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(constant(step)).wrapping_add(word(at));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(*shift)));
        }
    }
    let [start_a, start_b, start_c, start_d] = digest;
    [start_a.wrapping_add(a), start_b.wrapping_add(b), start_c.wrapping_add(c), start_d.wrapping_add(d)]
}

/// The integer part of 2^32 × |sin(step + 1)|.
fn constant(step: usize) -> u32 {
    ((step as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32
}

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

#[cfg(test)]
mod tests {
    use super::md5;

    #[test]
    fn it_agrees_with_the_test_suite_of_rfc_1321() {
        let digits = "1234567890".repeat(8);
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (digits.as_str(), "57edf4a22be3c955ac49da2e2107b67a"),
        ] {
            assert_eq!(md5(text), digest, "{text:?}");
        }
    }
}
