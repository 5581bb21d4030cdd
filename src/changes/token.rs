//! Resume tokens: the place after which a stream continues, sealed to the caller and its filter.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::place::{EventId, Place, Run};
use crate::shared_cache::{Binding, NotSealed, Sealer, Unreadable};

/// Why a resume token is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenError {
    /// It was sealed with a key of another process, or one that was removed.
    Expired,
    /// It is malformed, or belongs to another caller or filter.
    Invalid,
}

/// Makes the token of a place: 130 characters of base64url.
pub(super) fn seal(sealer: &Sealer, holder: &[u8; 32], run: Run, place: Place) -> Result<String, NotSealed> {
    let Place { number, id: EventId(time, sequence) } = place;
    let numbers = [run.0, number, time, sequence].map(u64::to_be_bytes);
    let plain = [&[VERSION], &numbers.concat()[..]].concat();
    Ok(URL_SAFE_NO_PAD.encode(sealer.seal(Binding::ResumeToken { holder }, &plain)?))
}

/// Reads a token.
pub(super) fn open(sealer: &Sealer, holder: &[u8; 32], token: &str) -> Result<(Run, Place), TokenError> {
    if token.len() > MAX_CHARACTERS {
        return Err(TokenError::Invalid);
    }
    let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Invalid)?;
    let opened = sealer.open(Binding::ResumeToken { holder }, &sealed).map_err(|error| match error {
        Unreadable::Key => TokenError::Expired,
        Unreadable::Binding | Unreadable::Format => TokenError::Invalid,
    })?;
    parse(&opened.plain).ok_or(TokenError::Expired)
}

/// Reads the plain text; none if it is of another version.
fn parse(plain: &[u8]) -> Option<(Run, Place)> {
    let ([VERSION], numbers) = plain.split_first_chunk()? else { return None };
    let (numbers, []) = numbers.as_chunks::<8>() else { return None };
    let [run, number, time, sequence] = *<&[[u8; 8]; 4]>::try_from(numbers).ok()?;
    let [run, number, time, sequence] = [run, number, time, sequence].map(u64::from_be_bytes);
    Some((Run(run), Place { number, id: EventId(time, sequence) }))
}

const VERSION: u8 = 1;
const MAX_CHARACTERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bound_to_its_holder_and_cannot_be_altered() {
        let (sealer, other) = (Sealer::of_this_process().unwrap(), Sealer::of_this_process().unwrap());
        let place = Place { number: u64::MAX, id: EventId(1_795_614_746_007, 3) };
        let token = seal(&sealer, &[1; 32], Run(9), place).unwrap();
        assert!(token.len() <= MAX_CHARACTERS, "{}", token.len());
        assert_eq!(open(&sealer, &[1; 32], &token), Ok((Run(9), place)));
        assert_ne!(seal(&sealer, &[1; 32], Run(9), place), Ok(token.clone()), "it shows nothing");
        assert_eq!(open(&sealer, &[2; 32], &token), Err(TokenError::Invalid), "another caller or filter");
        assert_eq!(open(&other, &[1; 32], &token), Err(TokenError::Expired), "another process");
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        // Behind the format and the key id, every byte is authenticated.
        for n in 5..bytes.len() {
            bytes[n] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(&bytes);
            assert_eq!(open(&sealer, &[1; 32], &altered), Err(TokenError::Invalid), "{n}");
            bytes[n] ^= 1;
        }
        for bad in
            ["x", "AAAA", "not a token!", token.get(1..).unwrap(), &"A".repeat(257), &format!("{token}=")]
        {
            assert_eq!(open(&sealer, &[1; 32], bad), Err(TokenError::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn an_event_is_no_token() {
        let sealer = Sealer::of_this_process().unwrap();
        let event = sealer.seal(Binding::Event, &[VERSION; 33]).unwrap();
        assert_eq!(open(&sealer, &[0; 32], &URL_SAFE_NO_PAD.encode(event)), Err(TokenError::Invalid));
        let later = sealer.seal(Binding::ResumeToken { holder: &[0; 32] }, &[2; 33]).unwrap();
        assert_eq!(open(&sealer, &[0; 32], &URL_SAFE_NO_PAD.encode(later)), Err(TokenError::Expired));
    }
}
