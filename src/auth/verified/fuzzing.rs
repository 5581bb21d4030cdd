//! The target `verified_tokens`.

use std::collections::HashSet;

use super::fixtures::{self, verified};
use crate::oracle::Input;

/// Only a token that was verified before, byte for byte, is a hit.
///
/// The input is lines. A line that begins with `+` is verified, all others are only looked up. Of each
/// verified one, the tokens with one bit flipped and one byte more or less are looked up too.
pub(crate) fn verified_tokens(input: &[u8]) {
    let tokens = fixtures::verified_tokens();
    let (mut input, mut known) = (Input::new(input), HashSet::new());
    let lines = std::iter::from_fn(|| input.line()).take(MAX_LINES);
    for line in lines.collect::<Vec<_>>() {
        let is_new = line.starts_with('+');
        let token = line.trim_start_matches('+').as_bytes().to_vec();
        match tokens.look_up(&token) {
            Ok(_) => assert!(known.contains(&token), "a hit for a token that was never verified"),
            Err(pending) => {
                assert!(!known.contains(&token), "a miss for a verified token");
                if is_new {
                    drop(pending.insert(verified("ada")));
                    known.insert(token.clone());
                }
            }
        }
        for other in mutations(&token) {
            let is_hit = tokens.look_up(&other).is_ok();
            assert_eq!(is_hit, known.contains(&other), "a mutated token");
        }
    }
}

fn mutations(token: &[u8]) -> Vec<Vec<u8>> {
    let mut other = token.to_vec();
    let middle = other.len() / 2;
    if let Some(byte) = other.get_mut(middle) {
        *byte ^= 1;
    }
    let longer = [token, b"="].concat();
    let shorter = token.split_last().map_or_else(Vec::new, |(_, shorter)| shorter.to_vec());
    [other, longer, shorter].into_iter().filter(|other| other != token).collect()
}

const MAX_LINES: usize = 64;
