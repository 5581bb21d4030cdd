use super::*;
use crate::shared_cache::fixtures::sealer;

/// A binding that owns its parts, and the namespace.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    namespace: &'static str,
    value: Option<(&'static str, &'static str, ValueKind)>,
}

impl Place {
    const fn value(namespace: &'static str, pool: &'static str, sub: &'static str, kind: ValueKind) -> Self {
        Self { namespace, value: Some((pool, sub, kind)) }
    }

    const fn event(namespace: &'static str) -> Self {
        Self { namespace, value: None }
    }

    fn seal(&self, keys: &[&str], plain: &[u8]) -> Vec<u8> {
        self.with(|binding| sealer(self.namespace, keys).seal(binding, plain).unwrap())
    }

    fn open(&self, keys: &[&str], sealed: &[u8]) -> Result<(Vec<u8>, KeyAge), Unreadable> {
        let opened = self.with(|binding| sealer(self.namespace, keys).open(binding, sealed));
        opened.map(|Opened { plain, key }| (plain, key))
    }

    fn with<T>(&self, run: impl FnOnce(Binding<'_>) -> T) -> T {
        let Some((pool, sub, kind)) = self.value else { return run(Binding::Event) };
        let (pool, sub) = (pool.parse().unwrap(), sub.parse().unwrap());
        run(Binding::Value { pool: &pool, sub: &sub, kind })
    }
}

const HOME: Place = Place::value("cl", "eu-west-1_A", "zoe", ValueKind::Groups);

#[test]
fn a_text_does_not_open_elsewhere() {
    let elsewhere = [
        Place::value("cl", "eu-west-1_A", "zof", ValueKind::Groups),
        Place::value("cl", "eu-west-1_B", "zoe", ValueKind::Groups),
        // The same characters, split at another place.
        Place::value("cl", "eu-west-1_Az", "oe", ValueKind::Groups),
        Place::value("cl", "eu-west-1_A", "zoeg", ValueKind::Groups),
        Place::value("cl", "eu-west-1_A", "zoe", ValueKind::Profile),
        Place::value("cm", "eu-west-1_A", "zoe", ValueKind::Groups),
        Place::event("cl"),
    ];
    let sealed = HOME.seal(&["one"], b"staff");
    assert_eq!(HOME.open(&["one"], &sealed), Ok((b"staff".to_vec(), KeyAge::Current)));
    for place in elsewhere {
        assert_eq!(place.open(&["one"], &sealed), Err(Unreadable::Binding), "{place:?}");
        let back = place.seal(&["one"], b"staff");
        assert_eq!(HOME.open(&["one"], &back), Err(Unreadable::Binding), "from {place:?}");
    }
    assert_eq!(
        Place::event("cm").open(&["one"], &Place::event("cl").seal(&["one"], b"")),
        Err(Unreadable::Binding)
    );
}

#[test]
fn any_key_of_the_list_opens_and_the_first_one_seals() {
    let table = [
        (&["one"][..], &["one"][..], Ok(KeyAge::Current)),
        (&["one"], &["one", "two"], Ok(KeyAge::Current)),
        (&["one"], &["two", "one"], Ok(KeyAge::Previous)),
        (&["one"], &["three", "two", "one"], Ok(KeyAge::Previous)),
        (&["two", "one"], &["one"], Err(Unreadable::Key)),
        (&["one"], &["two"], Err(Unreadable::Key)),
        (&["one"], &[], Err(Unreadable::Key)),
    ];
    for (sealing, opening, expected) in table {
        for place in [HOME, Place::event("cl")] {
            let sealed = place.seal(sealing, b"text");
            let opened = place.open(opening, &sealed);
            assert_eq!(opened, expected.map(|key| (b"text".to_vec(), key)), "{sealing:?} {opening:?}");
        }
    }
    let binding = Binding::Event;
    assert_eq!(sealer("cl", &[]).seal(binding, b"text"), Err(NotSealed::Failed));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let sealed = HOME.seal(&["one"], b"staff");
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 => Unreadable::Format,
            1..5 => Unreadable::Key,
            _ => Unreadable::Binding,
        };
        assert_eq!(HOME.open(&["one"], &flipped), Err(expected), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert_eq!(HOME.open(&["one"], &sealed[..length]), Err(Unreadable::Format), "{length} bytes");
    }
    let longer = |bytes| [&sealed[..], &vec![0; bytes]].concat();
    assert_eq!(HOME.open(&["one"], &longer(1)), Err(Unreadable::Format));
    assert_eq!(HOME.open(&["one"], &longer(64)), Err(Unreadable::Binding));
    assert_eq!(HOME.open(&["one"], &longer(64 * 1024)), Err(Unreadable::Format));
}

#[test]
fn a_length_shows_steps_of_64_bytes_only() {
    for (length, blocks) in [(0, 1), (1, 1), (63, 1), (64, 2), (127, 2), (700, 11), (MAX_PLAIN_BYTES, 1024)] {
        // Zeros and the end mark within a text are not its padding.
        for plain in [vec![b'x'; length], vec![0; length], vec![END; length]] {
            let sealed = HOME.seal(&["one"], &plain);
            assert_eq!(sealed.len(), 1 + 4 + 12 + 64 * blocks + 16, "{length}");
            assert_eq!(HOME.open(&["one"], &sealed).unwrap().0, plain, "{length}");
        }
    }
    let too_long = sealer("cl", &["one"]).seal(Binding::Event, &vec![0; MAX_PLAIN_BYTES + 1]);
    assert_eq!(too_long, Err(NotSealed::TooLong));
}

/// All replicas of all versions must agree on these. They were made with another library: HKDF and
/// HMAC of Python's `hmac`, `AESGCMSIV` of `cryptography`.
#[test]
fn texts_that_another_program_sealed_open() {
    let table = [
        (
            HOME,
            "staff",
            "01d70a6b42000102030405060708090a0bb7f5b9917465092f5a2153a324d34a6e909eca3c593afcfb1a62ecb7b94f3088\
             cb503502b588b8684b7d3a7e35b1c85d814d1827ff0b11d822b2c2a2009a7b0d682d89ae2aa13591c61deb5c4e1c6642",
        ),
        (
            Place::event("cl"),
            "erase",
            "01d70a6b42000102030405060708090a0b91a06e06b572e2b59356c7263cb463a9b3fb9289fc6e092856f3bfdacf478efd\
             17d68529605c275056a3314c0ee6c7bfe609e75f0e883dc109a9b8847fbafdeace290800825a42d16af8fe95c4a6df00",
        ),
    ];
    for (place, plain, hex) in table {
        let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        let sealed: Vec<_> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        assert_eq!(place.open(&["one"], &sealed), Ok((plain.into(), KeyAge::Current)), "{place:?}");
    }
}

#[test]
fn only_what_was_sealed_for_the_same_place_with_a_known_key_opens() {
    let mut random = fastrand::Rng::with_seed(16);
    let mut opened = 0;
    let place = |random: &mut fastrand::Rng| {
        let namespace = ["cl", "c"][random.usize(..2)];
        if random.u8(..4) == 0 {
            return Place::event(namespace);
        }
        let (pool, sub) = (["l_A", "l_Au"][random.usize(..2)], ["u", "uu"][random.usize(..2)]);
        Place::value(namespace, pool, sub, [ValueKind::Profile, ValueKind::Groups][random.usize(..2)])
    };
    for _ in 0..2_000 {
        let (from, to) = (place(&mut random), place(&mut random));
        let keys = [&["one"][..], &["two"], &["one", "two"], &["two", "one"]];
        let (sealing, opening) = (keys[random.usize(..4)], keys[random.usize(..4)]);
        let plain: Vec<u8> = (0..random.usize(..200)).map(|_| random.u8(..)).collect();
        let result = to.open(opening, &from.seal(sealing, &plain));
        let expected = match opening.iter().position(|key| *key == sealing[0]) {
            None => Err(Unreadable::Key),
            Some(_) if from != to => Err(Unreadable::Binding),
            Some(0) => Ok((plain, KeyAge::Current)),
            Some(_) => Ok((plain, KeyAge::Previous)),
        };
        opened += usize::from(expected.is_ok());
        assert_eq!(result, expected, "{from:?} {sealing:?} to {to:?} {opening:?}");
    }
    assert!(opened > 50, "only {opened} texts were opened: does this test still try equal places?");
}

#[test]
fn equal_texts_do_not_look_equal() {
    assert_ne!(HOME.seal(&["one"], b"staff"), HOME.seal(&["one"], b"staff"));
}

#[test]
fn nothing_sealed_or_secret_is_shown() {
    let sealer = sealer("cl", &["hidden"]);
    let opened = sealer.open(Binding::Event, &sealer.seal(Binding::Event, b"hidden").unwrap());
    let shown = format!("{sealer:?} {opened:?}");
    assert!(!shown.contains("hidden") && !shown.contains("104, 105"), "{shown}");
}
