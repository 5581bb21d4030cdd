use tonic::metadata::MetadataValue;

use super::*;

#[test]
fn one_bearer_token_is_found() {
    let found = |entry: &str| match read(&metadata(&[entry])) {
        Ok(token) => Ok(token.map(|token| token.signature.to_owned())),
        Err(rejected) => Err(rejected),
    };
    for good in ["Bearer h.p.s", "bearer h.p.s", "BEARER h.p.s", "bEaReR h.p.s"] {
        assert_eq!(found(good), Ok(Some("s".to_owned())), "{good:?}");
    }
    for missing in ["", "Bearer", "Bearer ", "bearer", "Basic YTpi", "DPoP h.p.s", "Token h.p.s"] {
        assert_eq!(found(missing), Err(Rejected::Missing), "{missing:?}");
    }
    for malformed in [
        "Bearer  h.p.s",
        "Bearer\th.p.s",
        "Bearer h.p.s ",
        " Bearer h.p.s",
        "Bearerh.p.s",
        "h.p.s",
        "Bearer h.p.s, Bearer h.p.s",
        "Bearer h.p.s,h.p.s",
    ] {
        assert_eq!(found(malformed), Err(Rejected::Malformed), "{malformed:?}");
    }
}

#[test]
fn no_entry_is_no_token_and_two_are_malformed() {
    assert!(read(&metadata(&[])).unwrap().is_none());
    assert!(read(&metadata(&["Bearer h.p.s", "Bearer h.p.s"])).is_err());
    let mut bytes = MetadataMap::new();
    bytes.insert("authorization", MetadataValue::try_from(&b"Bearer h.p.\x80"[..]).unwrap());
    assert_eq!(read(&bytes).err(), Some(Rejected::Malformed));
    let mut others = MetadataMap::new();
    others.insert("authorization", MetadataValue::try_from(&b"Basic \x80"[..]).unwrap());
    assert_eq!(read(&others).err(), Some(Rejected::Missing), "another scheme");
    let mut elsewhere = MetadataMap::new();
    elsewhere.insert("x-forwarded-authorization", "Bearer h.p.s".parse().unwrap());
    assert!(read(&elsewhere).unwrap().is_none());
}

#[test]
fn the_form_is_compact_and_strict() {
    assert_eq!(parse("aA0.-_.s").unwrap().signed, "aA0.-_");
    let long = format!("h.{}.s", "p".repeat(MAX_BYTES));
    for bad in [
        "",
        "h",
        "h.p",
        "h.p.s.x",
        ".h.p.s",
        "h..s",
        ".p.s",
        "h.p.",
        "...",
        "h.p.s.",
        "h=.p.s",
        "h.p==.s",
        "h.p.s=",
        "h+.p.s",
        "h.p/.s",
        "h.p.s\n",
        "h .p.s",
        "h.p?.s",
        "h.%2E.s",
        "h.p\0.s",
        "h.é.s",
        "{\"payload\":\"x\"}",
        &long,
    ] {
        assert_eq!(parse(bad).err(), Some(Rejected::Malformed), "{bad:?}");
    }
}

fn read(metadata: &MetadataMap) -> Result<Option<BearerToken<'_>>, Rejected> {
    in_metadata(metadata)?.map(BearerToken::parse).transpose()
}

fn parse(token: &str) -> Result<BearerToken<'_>, Rejected> {
    BearerToken::parse(bounded(token.as_bytes())?)
}

fn metadata(entries: &[&str]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for entry in entries {
        metadata.append("authorization", entry.parse().unwrap());
    }
    metadata
}
