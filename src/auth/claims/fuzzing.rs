//! The target `token`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::time::{Duration, UNIX_EPOCH};

use super::{Claims, Unverified};
use crate::{
    oracle::{Json, decode_base64url, encode_base64url},
    pool::Pool,
};

/// An accepted token is one that a second reader accepts too, with the same key id, issuer and claims.
/// The second reader refuses no token that this one accepts, and few the other way round.
///
/// Input that begins with `{` is two lines, header and payload, and becomes a token. Other input is one.
pub(crate) fn token(input: &[u8]) {
    let token = assembled(input);
    let second = second_reading(&token);
    let Ok(read) = Unverified::read(&token) else {
        let is_plain = |part: &Json| part.depth() < 100 && part.all(&is_small_number);
        let is_refused = second.is_none_or(|(header, claims)| !is_plain(&header) || !is_plain(&claims));
        assert!(is_refused, "refused, though it is well formed");
        return;
    };
    let (header, claims) = second.expect("accepted, though it is not well formed");
    assert_eq!(header.text("kid"), Some(read.unverified_key_id()));
    assert_eq!(claims.text("iss"), read.unverified_issuer());
    check_claims(&read.claims, &claims);
}

fn assembled(input: &[u8]) -> Vec<u8> {
    let end = input.iter().position(|byte| *byte == b'\n');
    match end.map(|end| input.split_at(end)) {
        Some((header @ [b'{', ..], [_, payload @ ..])) => {
            format!("{}.{}.c2ln", encode_base64url(header), encode_base64url(payload)).into_bytes()
        }
        _ => input.to_vec(),
    }
}

/// Returns header and payload of a token that is well formed (RFC 7515, RFC 8725).
fn second_reading(token: &[u8]) -> Option<(Json, Json)> {
    let parts: Vec<_> = str::from_utf8(token).ok()?.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return None };
    let is_signed = !decode_base64url(signature)?.is_empty();
    let header = Json::strict_object(&decode_base64url(header)?)?;
    let payload = Json::strict_object(&decode_base64url(payload)?)?;
    (is_signed && is_for_rs256(&header)).then_some((header, payload))
}

fn is_for_rs256(header: &Json) -> bool {
    let refused = ["cty", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"];
    let kid = header.text("kid").unwrap_or_default();
    let type_is_ours = match header.member("typ") {
        None | Some(Json::Null) => true,
        Some(Json::Text(typ)) => {
            ["jwt", "at+jwt", "application/at+jwt"].contains(&&*typ.to_ascii_lowercase())
        }
        Some(_) => false,
    };
    header.text("alg") == Some("RS256")
        && (1..=128).contains(&kid.len())
        && !kid.chars().any(char::is_control)
        && refused.iter().all(|name| header.member(name).is_none())
        && type_is_ours
}

/// Returns whether it is none of the numbers that some readers refuse for their size.
fn is_small_number(value: &Json) -> bool {
    !matches!(value, Json::Number(text) if text.len() > 15 || text.contains(['e', 'E']))
}

/// Checks that accepted claims say what the second reader finds in them.
fn check_claims(read: &Claims, claims: &Json) {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let Ok((identity, _)) = read.check(&Pool::for_test("eu-west-1_A"), LIFETIME, now) else { return };
    let now = NOW as f64;
    assert!(claims.text("iss").is_some_and(|iss| ISSUERS.contains(&iss)), "the issuer");
    assert_eq!((claims.text("token_use"), claims.text("client_id")), (Some("access"), Some("client1")));
    assert_eq!(identity.client.id.as_str(), "client1");
    let (expires_at, issued_at) = (claims.number("exp").expect("exp"), claims.number("iat"));
    let begun = issued_at.map_or(now, |issued_at| issued_at.max(0.0).min(now));
    assert!(expires_at + LEEWAY >= now && expires_at <= begun + 86_400.0 + LEEWAY, "exp");
    let begins = [issued_at, claims.number("nbf")];
    assert!(begins.iter().flatten().all(|time| *time <= now + LEEWAY), "iat, nbf");
    let sub = claims.text("sub").expect("sub");
    let Some(user) = identity.user else {
        let is_machine = matches!(claims.member("username"), None | Some(Json::Null)) || sub == "client1";
        assert!(is_machine, "a user's token became a machine's");
        return;
    };
    assert_eq!(
        (user.sub.as_str(), user.username.as_str()),
        (sub, claims.text("username").expect("username"))
    );
    assert!(expires_at <= issued_at.expect("iat").max(0.0) + LIFETIME.as_secs_f64() + LEEWAY, "the lifetime");
    assert_eq!(user.family.is_some(), claims.text("origin_jti").is_some());
    let groups = claims.member("cognito:groups").map_or(&[][..], Json::items);
    let named = user.groups.iter().flat_map(|groups| groups.names());
    assert!(named.map(|name| Json::Text(name.to_owned())).all(|name| groups.contains(&name)), "the groups");
}

const NOW: u64 = 1_790_000_000;
const LIFETIME: Duration = Duration::from_secs(3_600);
// A microsecond more, for numbers that a double holds only roughly.
const LEEWAY: f64 = 10.000_001;
const ISSUERS: [&str; 2] = [
    "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A",
    "https://issuer-cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A",
];
